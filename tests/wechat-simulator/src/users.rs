//! The simulated WeChat users.

use sha2::{Digest as _, Sha256};

use crate::merchants::{Account, Kind};

/// A person with a WeChat account (or, for `snapshot`, WeChat's stand-in for
/// one who only looks at a page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The word that chooses this user in settings and queries.
    pub(crate) key: &'static str,
    pub(crate) nickname: &'static str,
    /// Real openids have 28 characters; so have these.
    pub(crate) openid: &'static str,
    pub(crate) unionid: &'static str,
    /// A virtual account, with which nothing can be paid.
    pub(crate) snapshot: bool,
}

impl User {
    /// The openid at one account: each has its own, as at WeChat. The account of
    /// kind `any` has the plain ones.
    pub(crate) fn openid_at(self, account: &Account) -> String {
        if account.kind == Kind::Any {
            return self.openid.to_owned();
        }
        let name = format!("{} {}", account.app_id, self.key);
        let digest = hex::encode(Sha256::digest(name.as_bytes()));
        digest
            .chars()
            .take(27)
            .fold("o".to_owned(), |mut text, letter| {
                text.push(letter);
                text
            })
    }
}

/// The user who pays when nobody says who.
pub(crate) const ALICE: User = User {
    key: "alice",
    nickname: "Alice",
    openid: "oSimulatedPayerAlice00000001",
    unionid: "uSimulatedPayerAlice00000001",
    snapshot: false,
};

const BOB: User = User {
    key: "bob",
    nickname: "Bob",
    openid: "oSimulatedPayerBob0000000002",
    unionid: "uSimulatedPayerBob0000000002",
    snapshot: false,
};

const SNAPSHOT: User = User {
    key: "snapshot",
    nickname: "微信用户",
    openid: "oSimulatedSnapshot0000000003",
    unionid: "uSimulatedSnapshot0000000003",
    snapshot: true,
};

/// In the order in which the consent page shows them.
pub(crate) const ALL: [User; 3] = [ALICE, BOB, SNAPSHOT];

/// The user of that key.
pub(crate) fn by_key(key: &str) -> Option<User> {
    ALL.into_iter().find(|user| user.key == key)
}

/// Whether an account's order for this openid is taken. Made-up openids are,
/// unless `strict`; the virtual account never is, nor who is known elsewhere.
pub(crate) fn may_pay(openid: &str, account: &Account, strict: bool) -> bool {
    let plain = ALL.iter().any(|user| user.openid == openid);
    let shaped = openid
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let mut users = ALL.into_iter();
    match users.find(|user| user.openid_at(account) == openid) {
        Some(user) => !user.snapshot,
        None if plain => false,
        None => shaped && !openid.is_empty() && !strict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openids_look_like_openids() {
        assert!(
            ALL.iter()
                .all(|user| user.openid.len() == 28 && user.openid.starts_with('o'))
        );
    }

    #[test]
    fn a_virtual_account_cannot_pay() {
        let any = account(Kind::Any);
        assert!(may_pay(ALICE.openid, &any, true));
        assert!(may_pay("oMadeUp", &any, false));
        assert!(!may_pay("oMadeUp", &any, true));
        assert!(!may_pay(SNAPSHOT.openid, &any, false));
        assert!(!may_pay("not an openid", &any, false));
    }

    #[test]
    fn an_openid_is_one_accounts() {
        let mini = account(Kind::MiniProgram);
        let openid = ALICE.openid_at(&mini);
        assert_eq!(openid.len(), 28);
        assert!(may_pay(&openid, &mini, true));
        assert!(!may_pay(ALICE.openid, &mini, false));
        assert!(!may_pay(&SNAPSHOT.openid_at(&mini), &mini, false));
    }

    fn account(kind: Kind) -> Account {
        Account {
            app_id: "wx1".to_owned(),
            kind,
            secret: "secret".to_owned(),
            merchants: Vec::new(),
        }
    }
}
