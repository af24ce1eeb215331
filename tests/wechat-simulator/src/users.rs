//! The simulated WeChat users.

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

/// Whether an order for this openid is taken. Made-up openids are, unless
/// `strict`; the virtual account never is.
pub(crate) fn may_pay(openid: &str, strict: bool) -> bool {
    let shaped = openid
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    match ALL.into_iter().find(|user| user.openid == openid) {
        Some(user) => !user.snapshot,
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
        assert!(may_pay(ALICE.openid, true));
        assert!(may_pay("oMadeUp", false));
        assert!(!may_pay("oMadeUp", true));
        assert!(!may_pay(SNAPSHOT.openid, false));
        assert!(!may_pay("not an openid", false));
    }
}
