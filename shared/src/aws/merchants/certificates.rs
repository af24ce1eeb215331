//! When WeChat is asked for its platform certificates: when there is no key at all to
//! believe it by, and when one is met that is not known. Whoever asks has the
//! lease of the merchant's row, so that of all processes one asks, and nobody again
//! for a while, whatever serials strangers invent. The others do not wait for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Loaded};
use crate::aws::Failure;
use crate::aws::registry::certificates::CertificatesRow;
use crate::domain::merchant::MchId;
use crate::error::causes;
use crate::wechat::Wechat;

/// Who asks has a request to answer, and another call of WeChat to make for it.
const PATIENCE: Duration = Duration::from_secs(2);

fn believes_nobody(mch_id: &MchId) {
    tracing::error!(
        alarm = "configuration",
        %mch_id,
        "WeChat's certificates are not there, and nothing of WeChat's can be believed: import its \
         public key, or mend the APIv3 key"
    );
}

impl Inner {
    /// A merchant as it was read just now; with WeChat's certificates, if without them
    /// nothing of WeChat's could be believed.
    pub(super) async fn look_again(&self, read: Loaded) -> Loaded {
        let Ok(wechat) = &read.wechat else {
            return read;
        };
        let row = &read.certificates;
        match wechat.believes_nobody() && row.may_be_asked(self.clock.now()) {
            true => {
                let row = self.ask(wechat, row).await;
                self.with(&read, row)
            }
            false => read,
        }
    }

    /// A merchant that met a certificate of this serial, which was not known: with
    /// what others have fetched, or what WeChat says if it may be asked.
    pub(super) async fn learn(
        &self,
        known: Arc<Loaded>,
        serial: &str,
    ) -> Result<Arc<Loaded>, Failure> {
        let Ok(wechat) = &known.wechat else {
            return Ok(known);
        };
        let mch_id = &known.merchant.mch_id;
        let mut row = self.registry.certificates(mch_id).await?;
        if !row.has(serial) && row.may_be_asked(self.clock.now()) {
            tracing::info!(%mch_id, serial, "WeChat's certificate is not known");
            row = self.ask(wechat, &row).await;
        }
        match row.certificates == known.certificates.certificates {
            true => Ok(known),
            false => Ok(Arc::new(self.with(&known, row))),
        }
    }

    /// What WeChat says, if the lease is ours; else the row.
    async fn ask(&self, wechat: &Wechat, row: &CertificatesRow) -> CertificatesRow {
        let (mch_id, now) = (&wechat.merchant().mch_id, self.clock.now());
        let lease = match self.registry.lease_certificates(mch_id, now).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(row)) => return row,
            Err(failure) => {
                // What is known goes on to serve.
                tracing::warn!(%mch_id, %failure, "WeChat's certificates could not be asked for");
                return row.clone();
            }
        };
        let asked = tokio::time::timeout(PATIENCE, wechat.certificates(now)).await;
        let said = match asked {
            Ok(Ok(said)) => said,
            failed => {
                // The lease goes on, so that WeChat is asked once in its time.
                let cause = match &failed {
                    Ok(Err(error)) => causes(error),
                    _ => "it took too long".to_owned(),
                };
                tracing::warn!(%mch_id, cause, "WeChat's certificates could not be fetched");
                if wechat.believes_nobody() {
                    believes_nobody(mch_id);
                }
                return row.clone();
            }
        };
        if said.is_none() && wechat.believes_nobody() {
            believes_nobody(mch_id);
        }
        let row = row.clone().answered(said, now);
        let serials: Vec<&str> = row.certificates.iter().map(|one| &*one.serial).collect();
        tracing::info!(%mch_id, ?serials, "WeChat's certificates were fetched");
        // They serve even if they could not be kept: another will fetch them.
        if let Err(failure) = self.registry.keep_certificates(&lease, &row).await {
            tracing::warn!(%failure, "WeChat's certificates could not be kept");
        }
        row
    }

    fn with(&self, known: &Loaded, certificates: CertificatesRow) -> Loaded {
        let (merchant, texts) = (&known.merchant, &known.texts);
        Loaded {
            wechat: self.connect(merchant, texts, &certificates, Some(known)),
            merchant: merchant.clone(),
            texts: texts.clone(),
            certificates,
        }
    }
}
