//! Taking a role for a while, with AWS's Security Token Service.

use std::time::Duration;

use super::request::Request;
use super::{AwsError, Caller};
use crate::job::Timestamp;
use crate::secret::Secret;
use crate::store::StaticCredentials;

/// Credentials of a role, and when they end.
#[derive(Clone, Debug)]
pub struct RoleSession {
    /// The credentials.
    pub credentials: StaticCredentials,
    /// When they end, by AWS's clock.
    pub ends: Timestamp,
}

impl Caller {
    /// Takes a role for a while: AssumeRole, as `name`. A role that takes another has an hour at
    /// most.
    ///
    /// # Errors
    /// When the role can't be taken.
    pub async fn assume(
        &self,
        region: &str,
        role_arn: &str,
        name: &str,
        life: Duration,
    ) -> Result<RoleSession, AwsError> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", role_arn)
            .append_pair("RoleSessionName", name)
            .append_pair("DurationSeconds", &life.as_secs().to_string())
            .finish();
        let request = Request {
            service: "sts",
            region: region.to_owned(),
            method: "POST",
            path: "/".to_owned(),
            headers: Vec::new(),
            content_type: "application/x-www-form-urlencoded",
            body: form,
            what: format!("give the role {role_arn}"),
        };
        let answer = self.send(&request).await?;
        // What is wrong with it is not shown: it may be half a secret.
        session(&String::from_utf8_lossy(&answer)).ok_or(AwsError::Request {
            service: "sts",
            why: "its answer to AssumeRole has no credentials".to_owned(),
        })
    }
}

/// The session in AssumeRole's answer, which is XML with texts of letters, digits and `+/=:-.`.
fn session(xml: &str) -> Option<RoleSession> {
    let field = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
    };
    Some(RoleSession {
        credentials: StaticCredentials {
            access_key: field("AccessKeyId")?,
            secret_key: Secret::new(field("SecretAccessKey")?),
            session_token: Some(Secret::new(field("SessionToken")?)),
        },
        ends: field("Expiration")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_or_there_are_none() {
        let xml = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                   <AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
                   <SecretAccessKey>s/e+c=</SecretAccessKey><SessionToken>t==</SessionToken>\
                   <Expiration>2026-11-22T08:13:39Z</Expiration></Credentials></AssumeRoleResult>\
                   </AssumeRoleResponse>";
        let found = session(xml).unwrap();
        assert_eq!(found.credentials.access_key, "ASIA1");
        assert_eq!(found.credentials.secret_key.expose(), "s/e+c=");
        assert_eq!(found.ends, "2026-11-22T08:13:39Z".parse().unwrap());
        assert!(!format!("{found:?}").contains("s/e+c="));
        for broken in ["", "<AccessKeyId>", &xml.replace("Expiration", "Until")] {
            assert!(session(broken).is_none());
        }
    }
}
