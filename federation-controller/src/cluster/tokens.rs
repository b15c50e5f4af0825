//! Shell: the API server's word about a service account token, and about a pod.

use causeway_certs::dial::causes;
use causeway_proto::model::NodeName;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::api::{REQUEST, in_time, missing};
use crate::enrolment::{Reviewer, Unreviewed};
use crate::review::{AUDIENCE, Pod, Review};

/// Asks the API server.
#[derive(Clone)]
pub struct Tokens {
    reviews: Api<TokenReview>,
    pods: Api<k8s_openapi::api::core::v1::Pod>,
}

impl Tokens {
    /// Pods are those of our namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            reviews: Api::all(client.clone()),
            pods: Api::namespaced(client, namespace),
        }
    }
}

fn unreviewed(error: &kube::Error) -> Unreviewed {
    Unreviewed(causes(error))
}

impl Reviewer for Tokens {
    async fn review(&self, token: &str) -> Result<Review, Unreviewed> {
        let asked = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let post = PostParams::default();
        let answer = in_time(REQUEST, self.reviews.create(&post, &asked)).await;
        let answer = answer.map_err(|error| unreviewed(&error))?;
        let status = answer.status.unwrap_or_default();
        let user = status.user.unwrap_or_default();
        Ok(Review {
            authenticated: status.authenticated.unwrap_or(false),
            error: status.error,
            audiences: status.audiences.unwrap_or_default(),
            user: user.username.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }

    async fn node_of(&self, pod: &Pod) -> Result<Option<NodeName>, Unreviewed> {
        let found = missing(in_time(REQUEST, self.pods.get(&pod.name)).await);
        let found = found.map_err(|error| unreviewed(&error))?;
        let found = found.filter(|found| found.metadata.uid.as_ref() == Some(&pod.uid));
        let node = found.and_then(|found| found.spec?.node_name);
        // A name that is none of ours is no node of ours.
        Ok(node.and_then(|node| node.parse().ok()))
    }
}
