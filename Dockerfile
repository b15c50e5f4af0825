# The image that `cargo xtask image` makes, for those who build with Docker: the same files, put in by the same program.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo xtask image --unpacked /image

FROM scratch
COPY --from=build /image /
ENV PATH=/usr/bin CAUSEWAY_EBPF_OBJECT=/usr/lib/causeway/causeway-ebpf
USER 65532:65532
ENTRYPOINT ["/usr/bin/causeway"]
