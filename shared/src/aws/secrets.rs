//! WeChat's secrets in Secrets Manager, and how long what is made of them is kept:
//! the payment keys and client certificates are the [`merchants`](super::merchants)',
//! the accounts' keys the [`accounts`](super::accounts)'. Each function holds what its
//! role may read.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use tokio::sync::Mutex;

use super::Failure;

/// What has not been looked at for so many times longer than it is fresh, because
/// nobody has called the function, is looked at before the request and not behind it.
const OLD: u32 = 2;

/// Where a kind of secret is found: the names' first part is what a role grants.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A merchant's keys of version 2.
    PaymentKeys,
    /// A merchant's keys of version 3.
    PaymentKeysV3,
    /// A merchant's client certificate.
    Certificate,
    /// An account's keys.
    Account,
}

impl Kind {
    /// The name of the secret that belongs to this merchant or account.
    #[must_use]
    pub fn name(self, prefix: &str, id: &str) -> String {
        let kind = match self {
            Self::PaymentKeys => "payment-keys",
            Self::PaymentKeysV3 => "payment-keys-v3",
            Self::Certificate => "certificate",
            Self::Account => "account",
        };
        format!("{prefix}/{kind}/{id}")
    }
}

/// Reads secrets.
#[derive(Debug, Clone)]
pub(super) struct Secrets(Client);

impl Secrets {
    pub(super) fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }

    pub(super) async fn read(&self, id: &str) -> Result<String, SdkError<GetSecretValueError>> {
        let answer = self.0.get_secret_value().secret_id(id).send().await?;
        Ok(answer.secret_string.unwrap_or_default())
    }

    /// A secret that its owner may do without; empty when it is not there or has no
    /// value.
    pub(super) async fn read_if_there(
        &self,
        id: Option<&str>,
        operation: &'static str,
    ) -> Result<String, Failure> {
        let Some(id) = id else {
            return Ok(String::new());
        };
        match self.read(id).await {
            Err(error) if is_not_there(&error) => Ok(String::new()),
            other => other.map_err(Failure::of(operation)),
        }
    }
}

fn is_not_there(error: &SdkError<GetSecretValueError>) -> bool {
    let error = error.as_service_error();
    error.is_some_and(GetSecretValueError::is_resource_not_found_exception)
}

/// A secret's text, for whoever is about to change it; empty when it is not there.
pub async fn stored(config: &SdkConfig, id: &str) -> Result<String, Failure> {
    let secrets = Secrets::new(config);
    secrets.read_if_there(Some(id), "read a secret").await
}

/// Puts a secret's text where the functions read it; the secret is made if it is not
/// there. Repeating it is harmless.
pub async fn store(config: &SdkConfig, id: &str, text: String) -> Result<(), Failure> {
    const OPERATION: &str = "store a secret";
    let client = Client::new(config);
    let put = client.put_secret_value().secret_id(id);
    match put.secret_string(&text).send().await {
        Ok(_) => return Ok(()),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_resource_not_found_exception()) => {}
        Err(error) => return Err(Failure::of(OPERATION)(error)),
    }
    let made = client.create_secret().name(id).secret_string(text);
    made.send().await.map_err(Failure::of(OPERATION))?;
    Ok(())
}

/// Something made of secrets, for as long as they are fresh. After that whoever asks
/// gets it all the same, and it is made anew behind the request; if that fails, the
/// one that is there is used on. None: there is nothing to make it of.
#[derive(Debug)]
pub(super) struct Known<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    made: Option<(Arc<T>, Instant)>,
    refreshing_since: Option<Instant>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::new(State {
            made: None,
            refreshing_since: None,
        }))
    }
}

impl<T: Send + Sync + 'static> Known<T> {
    /// `make` gets the one before, if any, and may give it back.
    pub(super) async fn get<F>(
        self: &Arc<Self>,
        fresh: Duration,
        make: impl FnOnce(Option<Arc<T>>) -> F,
    ) -> Result<Option<Arc<T>>, Failure>
    where
        F: Future<Output = Result<Option<Arc<T>>, Failure>> + Send + 'static,
    {
        let mut state = self.0.lock().await;
        let Some((made, at)) = state.made.clone() else {
            let made = make(None).await?;
            state.made = made.clone().map(|made| (made, Instant::now()));
            return Ok(made);
        };
        match at.elapsed() {
            age if age < fresh => {}
            age if age < fresh.saturating_mul(OLD) => {
                // One that was frozen with its function, or panicked, never ends.
                let under_way = state.refreshing_since;
                if under_way.is_none_or(|since| since.elapsed() >= fresh) {
                    let (known, next) = (Arc::clone(self), make(Some(Arc::clone(&made))));
                    state.refreshing_since = Some(Instant::now());
                    tokio::spawn(async move {
                        let next = next.await;
                        let mut state = known.0.lock().await;
                        // What somebody else has made meanwhile is newer.
                        if state
                            .made
                            .as_ref()
                            .is_some_and(|(_, made_at)| *made_at == at)
                        {
                            state.replace(next);
                        }
                        state.refreshing_since = None;
                    });
                }
            }
            _ => {
                let next = make(Some(made)).await;
                state.replace(next);
                return Ok(state.made.clone().map(|(made, _)| made));
            }
        }
        Ok(Some(made))
    }

    /// Makes it anew now, unless that was done less than so long ago.
    pub(super) async fn renew<F>(
        &self,
        age: Duration,
        make: impl FnOnce(Option<Arc<T>>) -> F,
    ) -> Result<Option<Arc<T>>, Failure>
    where
        F: Future<Output = Result<Option<Arc<T>>, Failure>>,
    {
        let mut state = self.0.lock().await;
        let old = match state.made.clone() {
            Some((made, at)) if at.elapsed() < age => return Ok(Some(made)),
            old => old.map(|(made, _)| made),
        };
        state.made = make(old).await?.map(|made| (made, Instant::now()));
        Ok(state.made.clone().map(|(made, _)| made))
    }

    /// Puts another in its place, which ages as the one before: not all that it is
    /// made of was looked at.
    pub(super) async fn mend<F>(
        &self,
        make: impl FnOnce(Arc<T>) -> F,
    ) -> Result<Option<Arc<T>>, Failure>
    where
        F: Future<Output = Result<Arc<T>, Failure>>,
    {
        let mut state = self.0.lock().await;
        if let Some((made, _)) = &mut state.made {
            *made = make(Arc::clone(made)).await?;
        }
        Ok(state.made.clone().map(|(made, _)| made))
    }
}

impl<T> State<T> {
    fn replace(&mut self, next: Result<Option<Arc<T>>, Failure>) {
        match next {
            Ok(next) => self.made = next.map(|next| (next, Instant::now())),
            Err(failure) => {
                tracing::warn!(%failure, "WeChat's secrets could not be read again");
                // Not with each request from now on.
                if let Some((_, at)) = &mut self.made {
                    *at = Instant::now();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ready(made: u32) -> Result<Option<Arc<u32>>, Failure> {
        Ok(Some(Arc::new(made)))
    }

    async fn broken() -> Result<Option<Arc<u32>>, Failure> {
        Err(Failure {
            operation: "test",
            cause: "broken".into(),
        })
    }

    const FRESH: Duration = Duration::from_secs(300);

    async fn aged(known: &Known<u32>, age: Duration) {
        let mut state = known.0.lock().await;
        let (_, at) = state.made.as_mut().unwrap();
        *at = Instant::now().checked_sub(age).unwrap();
    }

    async fn got(known: &Arc<Known<u32>>, next: u32) -> u32 {
        *known.get(FRESH, |_| ready(next)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn what_ages_is_made_anew_behind_the_request_and_what_is_old_before_it() {
        let known = Arc::new(Known::default());
        assert_eq!(got(&known, 1).await, 1);
        assert_eq!(got(&known, 2).await, 1, "fresh");
        aged(&known, FRESH).await;
        assert_eq!(got(&known, 3).await, 1, "nobody waits");
        tokio::task::yield_now().await;
        assert_eq!(got(&known, 4).await, 3);
        aged(&known, FRESH * OLD).await;
        assert_eq!(got(&known, 5).await, 5);
    }

    #[tokio::test]
    async fn what_cannot_be_made_anew_is_used_on_and_not_asked_for_each_time() {
        let known = Arc::new(Known::default());
        assert!(known.get(FRESH, |_| broken()).await.is_err());
        assert_eq!(got(&known, 1).await, 1);
        aged(&known, FRESH * OLD).await;
        assert_eq!(
            known.get(FRESH, |_| broken()).await.unwrap().as_deref(),
            Some(&1)
        );
        assert_eq!(got(&known, 2).await, 1, "not yet again");
        aged(&known, FRESH * OLD).await;
        let gone = known.get(FRESH, |_| async { Ok(None) }).await.unwrap();
        assert!(gone.is_none());
        assert_eq!(got(&known, 3).await, 3);
    }

    #[tokio::test]
    async fn what_is_mended_ages_as_before_and_what_is_renewed_is_new() {
        let known = Arc::new(Known::default());
        let mended = known.mend(|_| async { Ok(Arc::new(1)) }).await.unwrap();
        assert!(mended.is_none(), "there is nothing to mend");
        assert_eq!(got(&known, 1).await, 1);
        aged(&known, FRESH).await;
        let more = |old: Arc<u32>| async move { Ok(Arc::new(*old + 1)) };
        assert_eq!(known.mend(more).await.unwrap().as_deref(), Some(&2));
        assert_eq!(got(&known, 3).await, 2, "but made anew behind");
        tokio::task::yield_now().await;
        assert_eq!(got(&known, 4).await, 3);
        let renewed = known.renew(FRESH, |_| ready(5)).await.unwrap();
        assert_eq!(renewed.as_deref(), Some(&3), "too soon");
        aged(&known, FRESH).await;
        assert!(known.renew(FRESH, |_| broken()).await.is_err());
        assert_eq!(got(&known, 6).await, 3, "what failed changes nothing");
        tokio::task::yield_now().await;
        aged(&known, FRESH).await;
        let renewed = known.renew(FRESH, |_| ready(7)).await.unwrap();
        assert_eq!(renewed.as_deref(), Some(&7));
        assert_eq!(got(&known, 8).await, 7, "fresh");
    }

    #[test]
    fn a_role_grants_a_kind_of_secret_by_the_names_first_parts() {
        let names = [
            Kind::PaymentKeys,
            Kind::PaymentKeysV3,
            Kind::Certificate,
            Kind::Account,
        ]
        .map(|kind| kind.name("hub", "1"));
        assert_eq!(names[0], "hub/payment-keys/1");
        assert_eq!(names[3], "hub/account/1");
        for (index, name) in names.iter().enumerate() {
            let grants = name.trim_end_matches('1');
            let granted = names.iter().filter(|other| other.starts_with(grants));
            assert_eq!(granted.count(), 1, "{index}");
        }
    }
}
