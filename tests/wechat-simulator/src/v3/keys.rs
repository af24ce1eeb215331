//! WeChat's own keys: for each merchant the one behind the WeChat Pay public key
//! and those behind two platform certificates, so that one merchant's never
//! serve another. They are made when a merchant with APIv3 is first known, and
//! kept in a folder when the start names one: whoever has stored the public key
//! still has the right one after a restart. And a merchant's own key, for who has
//! none.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use getrandom::SysRng;
use rcgen::{CertificateParams, DnType, KeyPair};
use rsa::PrivateKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::merchants::Unfit;

const BITS: usize = 2048;
/// A platform certificate lives so long.
const LIFE: Duration = Duration::days(5 * 365);

/// A key with the name under which merchants know its other half.
#[derive(Debug)]
pub(crate) struct Signer {
    /// What `Wechatpay-Serial` says.
    pub(crate) serial: String,
    pub(crate) key: PrivateKey,
}

/// A certificate as `/v3/certificates` tells it.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) signer: Signer,
    pub(crate) pem: String,
    pub(crate) effective_ms: i64,
    pub(crate) expire_ms: i64,
}

/// All keys with which WeChat signs for one merchant.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) public: Signer,
    /// The public key in PEM.
    pub(crate) public_pem: String,
    /// The older one first.
    pub(crate) platform: [Platform; 2],
    /// Nobody's: what a forger signs with.
    pub(crate) forger: Signer,
}

/// A merchant's own key with its certificate, as WeChat's tool makes them.
#[derive(Clone, Debug)]
pub struct Own {
    /// The certificate's number, in upper-case hexadecimal.
    pub serial: String,
    /// The private key in PEM.
    pub private_key: String,
    /// The certificate in PEM.
    pub certificate: String,
}

impl Own {
    /// Makes one, which takes a part of a second.
    ///
    /// # Errors
    /// When this machine cannot.
    pub fn new(mch_id: &str) -> Result<Self, Unfit> {
        let key = kept(None)?;
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| Unfit::Keys)?;
        let made = platform(mch_id, "own", key)?;
        Ok(Self {
            serial: made.signer.serial,
            private_key: pem.to_string(),
            certificate: made.pem,
        })
    }
}

/// Keys that are in no folder live as long as the process: making them takes
/// the better part of a second.
static MADE: Mutex<BTreeMap<String, Arc<Keys>>> = Mutex::new(BTreeMap::new());

impl Keys {
    /// A merchant's keys, from the folder or else made now.
    pub(crate) fn of(mch_id: &str, folder: Option<&Path>) -> Result<Arc<Self>, Unfit> {
        if let Some(folder) = folder {
            return Self::new(mch_id, Some(folder)).map(Arc::new);
        }
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = made.get(mch_id) {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(Self::new(mch_id, None)?);
        made.insert(mch_id.to_owned(), Arc::clone(&keys));
        Ok(keys)
    }

    fn new(mch_id: &str, folder: Option<&Path>) -> Result<Self, Unfit> {
        if let Some(folder) = folder {
            let made = fs::create_dir_all(folder);
            made.map_err(|error| Unfit::File(folder.to_owned(), error))?;
        }
        let key = |name: &str| {
            let file = folder.map(|folder| folder.join(format!("{mch_id}-{name}.key")));
            kept(file.as_deref())
        };
        let public = Signer {
            serial: format!("PUB_KEY_ID_01{mch_id:0>30}"),
            key: key("public")?,
        };
        let public_pem = public.key.to_public_key();
        let public_pem = public_pem
            .to_public_key_pem(LineEnding::LF)
            .map_err(|_| Unfit::Keys)?;
        if let Some(folder) = folder {
            let path = folder.join(format!("{mch_id}-public.pem"));
            write_whole(&path, &public_pem)?;
        }
        let forger = Signer {
            serial: public.serial.clone(),
            key: key("forger")?,
        };
        Ok(Self {
            platform: [
                platform(mch_id, "older", key("platform-1")?)?,
                platform(mch_id, "newer", key("platform-2")?)?,
            ],
            public,
            public_pem,
            forger,
        })
    }
}

/// The key in this file, which is made when it is not there.
fn kept(file: Option<&Path>) -> Result<PrivateKey, Unfit> {
    let file_error = |path: &Path| {
        let path = PathBuf::from(path);
        |error| Unfit::File(path, error)
    };
    if let Some(path) = file.filter(|path| path.exists()) {
        let pem = fs::read_to_string(path).map_err(file_error(path))?;
        return PrivateKey::from_pkcs8_pem(&pem).map_err(|_| Unfit::Keys);
    }
    let key = PrivateKey::new(&mut SysRng, BITS).map_err(|_| Unfit::Keys)?;
    if let Some(path) = file {
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| Unfit::Keys)?;
        write_whole(path, &pem)?;
    }
    Ok(key)
}

/// Whoever reads the file meanwhile finds all of one text.
fn write_whole(path: &Path, text: &str) -> Result<(), Unfit> {
    let unfinished = path.with_extension("unfinished");
    let written = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, path));
    written.map_err(|error| Unfit::File(path.to_owned(), error))
}

fn platform(mch_id: &str, name: &str, key: PrivateKey) -> Result<Platform, Unfit> {
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| Unfit::Keys)?;
    let pair = KeyPair::from_pem(&pem).map_err(|_| Unfit::Keys)?;
    let digest = Sha256::digest(format!("{mch_id} {name}").as_bytes());
    // The top bit clear: a serial number is positive.
    let serial: Vec<u8> = std::iter::once(0x57)
        .chain(digest.iter().copied().take(19))
        .collect();
    let effective = OffsetDateTime::now_utc() - Duration::days(1);
    let expire = effective + LIFE;
    let mut params = CertificateParams::default();
    params.not_before = effective;
    params.not_after = expire;
    params.serial_number = Some(serial.clone().into());
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "Tenpay.com sign (simulated)");
    let certificate = params.self_signed(&pair).map_err(|_| Unfit::Keys)?;
    Ok(Platform {
        signer: Signer {
            serial: hex::encode_upper(serial),
            key,
        },
        pem: certificate.pem(),
        effective_ms: effective.unix_timestamp() * 1000,
        expire_ms: expire.unix_timestamp() * 1000,
    })
}
