//! WeChat's platform certificates for a merchant, one row each beside the merchant's:
//! what WeChat has given, and when it may be asked again. Nothing of it is a secret.

use serde::Deserialize;

use super::Registry;
use super::leases::{self, Lease, Leased};
use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::item::{millis, value};
use crate::domain::merchant::MchId;
use crate::domain::time::Timestamp;
use crate::wechat::v3::Certificate;

/// How long others leave the asking to whoever began it, and how long nobody asks
/// when that failed, or died. It is also for a stranger who invents serials.
const LEASE_SECONDS: i64 = 60;
/// How long nobody asks again when WeChat has answered.
const REST_SECONDS: i64 = 300;
/// A row. Empty when nobody has asked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CertificatesRow {
    /// What WeChat signs with.
    pub certificates: Vec<Certificate>,
    /// Before that nobody asks, whatever serials are met.
    pub next_at: Timestamp,
}

impl CertificatesRow {
    /// What WeChat says now. When it names none it takes none back: nobody signs that.
    #[must_use]
    pub fn answered(self, said: Option<Vec<Certificate>>, now: Timestamp) -> Self {
        let mut certificates = said.unwrap_or(self.certificates);
        certificates.retain(|certificate| certificate.expires_at > now);
        Self {
            certificates,
            next_at: now.plus_seconds(REST_SECONDS),
        }
    }

    /// Whether it has the certificate of this serial.
    #[must_use]
    pub fn has(&self, serial: &str) -> bool {
        self.certificates.iter().any(|one| one.serial == serial)
    }

    /// Whether somebody may ask WeChat.
    #[must_use]
    pub fn may_be_asked(&self, now: Timestamp) -> bool {
        self.next_at <= now
    }
}

fn key(mch_id: &MchId) -> String {
    format!("certificates#{mch_id}")
}

impl Registry {
    /// This merchant's row.
    pub async fn certificates(&self, mch_id: &MchId) -> Result<CertificatesRow, Failure> {
        let row = self.row(key(mch_id), "read WeChat's certificates");
        Ok(row.await?.unwrap_or_default())
    }

    /// Leases the asking, if the row lets anybody ask.
    pub async fn lease_certificates(
        &self,
        mch_id: &MchId,
        now: Timestamp,
    ) -> Result<Result<Lease, CertificatesRow>, Failure> {
        let lease = Lease {
            name: key(mch_id),
            mark: random_hex(),
        };
        let update = self
            .update_leased(&lease)
            .update_expression("SET lease = :lease, next_at = :until")
            .condition_expression("attribute_not_exists(next_at) OR next_at <= :now")
            .expression_attribute_values(":until", millis(now.plus_seconds(LEASE_SECONDS)))
            .expression_attribute_values(":now", millis(now));
        let leased = leases::take(update, &lease, "lease WeChat's certificates").await?;
        Ok(match leased {
            Leased::Ours => Ok(lease),
            Leased::Theirs(row) => Err(row),
        })
    }

    /// Keeps what WeChat has said to who had the lease, and ends it. Under a lease
    /// that has passed to another nothing is written.
    pub async fn keep_certificates(
        &self,
        lease: &Lease,
        row: &CertificatesRow,
    ) -> Result<(), Failure> {
        const OPERATION: &str = "keep WeChat's certificates";
        let certificates = value(&row.certificates, OPERATION)?;
        let update = self
            .update_leased(lease)
            .update_expression("SET certificates = :certificates, next_at = :next REMOVE lease")
            .expression_attribute_values(":certificates", certificates)
            .expression_attribute_values(":next", millis(row.next_at));
        leases::under_lease(update, OPERATION).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_140_000_000);

    fn certificate(serial: &str, ends_in: i64) -> Certificate {
        Certificate {
            serial: serial.to_owned(),
            pem: String::new(),
            effective_at: NOW,
            expires_at: NOW.plus_seconds(ends_in),
        }
    }

    #[test]
    fn wechat_is_asked_at_once_and_then_rests() {
        let row = CertificatesRow::default();
        assert!(row.may_be_asked(NOW), "nobody has asked");
        let row = row.answered(Some(vec![]), NOW);
        for (seconds, may) in [(0, false), (299, false), (300, true)] {
            assert_eq!(
                row.may_be_asked(NOW.plus_seconds(seconds)),
                may,
                "{seconds}"
            );
        }
    }

    #[test]
    fn what_has_ended_is_dropped_and_what_nobody_signed_takes_nothing_back() {
        let said = vec![certificate("A", 1), certificate("B", 0)];
        let row = CertificatesRow::default().answered(Some(said), NOW);
        assert!(row.has("A") && !row.has("B") && !row.has("a"));
        let row = row.answered(None, NOW);
        assert!(row.has("A"));
        let row = row.answered(Some(vec![certificate("C", 9)]), NOW);
        assert!(row.has("C") && !row.has("A"), "WeChat's word is the whole");
        let row = row.answered(None, NOW.plus_seconds(9));
        assert_eq!(row.certificates, []);
    }
}
