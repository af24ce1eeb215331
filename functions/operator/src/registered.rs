//! Merchants and WeChat's accounts, in an owner's hands: registered, listed, shown,
//! edited, switched off and on. Their keys come by `hubctl credentials` alone.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::domain::merchant::{
    Account, AccountEdit, AccountId, AccountKind, MchId, Merchant, MerchantEdit,
};
use shared::domain::order::ApiVersion;
use shared::flows::registrar::{Change, Error, Registered};
use shared::http::problem::Problem;

use crate::OperatorApi;
use crate::body::{Sent, Why, listing, text};
use crate::door::Caller;

const NAME_MAX_BYTES: usize = 200;

/// What the API says of a row, and what it is called there.
pub(crate) trait InApi: Registered<Edit: DeserializeOwned> + 'static {
    /// The list's name.
    const LIST: &'static str;

    /// `Merchant` or `RegisteredAccount` in openapi.yaml.
    fn shown(&self) -> Value;

    /// The edit's name of the row, which people read.
    fn name(edit: &Self::Edit) -> Option<&String>;
}

impl InApi for Merchant {
    const LIST: &'static str = "merchants";

    fn shown(&self) -> Value {
        json!({
            "mch_id": self.mch_id, "name": self.name, "disabled": self.disabled,
            "api_version": self.api_version, "codepay": self.codepay, "sign_type": self.sign_type,
            "pay_base": self.pay_base,
        })
    }

    fn name(edit: &MerchantEdit) -> Option<&String> {
        edit.name.as_ref()
    }
}

impl InApi for Account {
    const LIST: &'static str = "accounts";

    fn shown(&self) -> Value {
        json!({
            "account": self.account, "kind": self.kind, "name": self.name,
            "disabled": self.disabled, "merchants": self.merchants,
        })
    }

    fn name(edit: &AccountEdit) -> Option<&String> {
        edit.name.as_ref()
    }
}

/// A name in a path or a cursor that is none is nobody's.
fn parsed<R: Registered>(id: &str) -> Result<R::Id, Problem> {
    R::parse(id).map_err(|_| Error::NotFound(R::KIND, String::new()).into())
}

/// Names are shown to people.
fn plain<R: InApi>(edit: R::Edit) -> Result<R::Edit, Problem> {
    let name = R::name(&edit).cloned().unwrap_or_default();
    text("name", name, NAME_MAX_BYTES)?;
    Ok(edit)
}

pub(crate) async fn list<R: InApi>(
    State(state): State<Arc<OperatorApi>>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    let (limit, after) = listing(given.as_deref())?;
    let after = after.map(|after| R::parse(&after)).transpose();
    let after = after.map_err(Problem::of_param("cursor"))?;
    let limit = usize::try_from(limit).unwrap_or_default();
    let found = state.registrar.page::<R>(after.as_ref(), limit).await?;
    let shown: Vec<Value> = found.rows.iter().map(R::shown).collect();
    Ok(Json(json!({R::LIST: shown, "next": found.next})).into_response())
}

pub(crate) async fn show<R: InApi>(
    State(state): State<Arc<OperatorApi>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row: R = state.registrar.read(&parsed::<R>(&id)?).await?;
    Ok(Json(row.shown()).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMerchant {
    mch_id: MchId,
    #[serde(default)]
    changes: MerchantEdit,
    reason: Option<String>,
}

pub(crate) async fn create_merchant(
    state: State<Arc<OperatorApi>>,
    caller: Extension<Caller>,
    Sent(new): Sent<NewMerchant>,
) -> Result<Response, Problem> {
    let row = Merchant::new(new.mch_id, ApiVersion::V3);
    create(&state, &caller, row, new.changes, new.reason).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    account: AccountId,
    kind: AccountKind,
    #[serde(default)]
    changes: AccountEdit,
    reason: Option<String>,
}

pub(crate) async fn create_account(
    state: State<Arc<OperatorApi>>,
    caller: Extension<Caller>,
    Sent(new): Sent<NewAccount>,
) -> Result<Response, Problem> {
    let row = Account::new(new.account, new.kind);
    create(&state, &caller, row, new.changes, new.reason).await
}

async fn create<R: InApi>(
    state: &OperatorApi,
    caller: &Caller,
    row: R,
    edit: R::Edit,
    why: Option<String>,
) -> Result<Response, Problem> {
    let (actor, now) = (caller.because(why)?, state.clock.now());
    let edit = plain::<R>(edit)?;
    let row = state.registrar.create(row, &edit, &actor, now).await?;
    Ok((StatusCode::CREATED, Json(row.shown())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edited<E> {
    changes: E,
    reason: Option<String>,
}

pub(crate) async fn edit<R: InApi>(
    state: State<Arc<OperatorApi>>,
    caller: Extension<Caller>,
    id: Path<String>,
    Sent(asked): Sent<Edited<R::Edit>>,
) -> Result<Response, Problem> {
    let edit = Change::Edit(plain::<R>(asked.changes)?);
    change::<R>(&state, &caller, &id, &edit, asked.reason).await
}

pub(crate) fn disable<R: InApi>() -> MethodRouter<Arc<OperatorApi>> {
    post(
        async |state: State<Arc<OperatorApi>>,
               caller: Extension<Caller>,
               id: Path<String>,
               Sent(why): Sent<Why>| {
            change::<R>(&state, &caller, &id, &Change::Disable, why.reason).await
        },
    )
}

pub(crate) fn enable<R: InApi>() -> MethodRouter<Arc<OperatorApi>> {
    post(
        async |state: State<Arc<OperatorApi>>,
               caller: Extension<Caller>,
               id: Path<String>,
               Sent(why): Sent<Why>| {
            change::<R>(&state, &caller, &id, &Change::Enable, why.reason).await
        },
    )
}

async fn change<R: InApi>(
    state: &OperatorApi,
    caller: &Caller,
    id: &str,
    change: &Change<R::Edit>,
    why: Option<String>,
) -> Result<Response, Problem> {
    let (actor, now) = (caller.because(why)?, state.clock.now());
    let id = parsed::<R>(id)?;
    let row: R = state.registrar.change(&id, change, &actor, now).await?;
    Ok(Json(row.shown()).into_response())
}
