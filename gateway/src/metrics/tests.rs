use expect_test::expect;

use super::*;
use crate::status::tests::{facts, view};
use crate::tunnel::counts::{Counts, Lost};

#[test]
fn what_prometheus_reads() {
    let counts = causeway_dns::Counts::default();
    counts.count(&[0, 1, 0x84, 3], false);
    counts.count(&[0, 2, 0x84, 0], true);
    let dns: Vec<_> = counts.read().into_iter().filter(|(_, n)| *n > 0).collect();
    let carried = Counts::default();
    carried.sent(7);
    carried.lost(Lost::TooLarge);
    let beside = Beside {
        leads: true,
        controllers: 1,
        dns: &dns,
        carried: &carried.read(),
    };
    let gateway = "g1".parse().unwrap();
    let status = crate::status::gateway(&gateway, &view(), &facts(), Timestamp(1_900));
    let text = text(&status, &view(), &beside).unwrap();
    // Of one name the order is any.
    let mut values: Vec<&str> = text.lines().filter(|l| !l.starts_with("# ")).collect();
    values.sort_unstable();
    expect![[r#"
        causeway_gateway_build_info{cluster="east",clusterset="demo",gateway="g1",version="0.1.0"} 1
        causeway_gateway_conflicting_services 0
        causeway_gateway_controllers 1
        causeway_gateway_dns_answers_total{code="NOERROR",transport="tcp"} 1
        causeway_gateway_dns_answers_total{code="NXDOMAIN",transport="udp"} 1
        causeway_gateway_dropped_packets_total{reason="NoFlow"} 2
        causeway_gateway_epoch 0
        causeway_gateway_frozen 0
        causeway_gateway_leads 1
        causeway_gateway_nodes{state="current"} 1
        causeway_gateway_nodes{state="known"} 1
        causeway_gateway_peer_endpoints{peer="west"} 3
        causeway_gateway_peer_live{peer="west"} 1
        causeway_gateway_peer_services{peer="west"} 1
        causeway_gateway_peer_sessions{peer="west",transport="quic"} 0
        causeway_gateway_peer_sessions{peer="west",transport="tcp"} 0
        causeway_gateway_peer_silence_seconds{peer="west"} 1
        causeway_gateway_revision 0
        causeway_gateway_services{state="exported"} 0
        causeway_gateway_services{state="imported"} 1
        causeway_gateway_services{state="stale"} 0
        causeway_gateway_session_datagrams_total{direction="received"} 0
        causeway_gateway_session_datagrams_total{direction="sent"} 7
        causeway_gateway_session_lost_total{reason="BadDatagram"} 0
        causeway_gateway_session_lost_total{reason="BadFrame"} 0
        causeway_gateway_session_lost_total{reason="NoDevice"} 0
        causeway_gateway_session_lost_total{reason="NoSession"} 0
        causeway_gateway_session_lost_total{reason="QueueFull"} 0
        causeway_gateway_session_lost_total{reason="TooLarge"} 1
        causeway_gateway_start_timestamp_seconds 0
        causeway_gateway_view 4"#]]
    .assert_eq(&values.join("\n"));
    assert!(text.ends_with("# EOF\n"));
}
