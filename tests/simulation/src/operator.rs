//! An operator changes by which version a merchant opens new attempts and which keys
//! the hub has, and gives an app another merchant, while orders are open.

use wechat_simulator::pay::Order;

use crate::asked::api_version;
use crate::cast::{self, MCH_IDS};
use crate::world::{World, app_row};

impl World {
    /// A merchant stands otherwise from now on: `hubctl merchant edit` and `hubctl
    /// credentials import`.
    pub(crate) fn turn(&mut self, place: usize) {
        let now = self.now();
        let Some(merchant) = self.plan.merchants.get(place) else {
            return;
        };
        let mut begun = merchant.turns.iter().rev().filter(|(at, _)| *at <= now);
        let standings = begun.next().zip(begun.next());
        let Some(((_, standing), (_, was))) = standings.map(|(is, was)| (*is, *was)) else {
            return;
        };
        let mch_id = MCH_IDS.get(place).copied().unwrap_or_default();
        self.note(|| format!("{mch_id} stands like this: {standing:?}"));
        if standing.version() != was.version() {
            let open = self.wechat.pay.orders().filter(|order| order.is_open());
            let is_its = |order: &Order| {
                order.mch_id == mch_id && api_version(order.version) == was.version()
            };
            self.switched += open.filter(|order| is_its(order)).count();
        }
        let registered = self.engine.register(&cast::merchant(place, standing));
        self.judge
            .hold(registered.is_ok(), || format!("{registered:?}"));
    }

    /// New orders of an app are paid to the other merchant from now on.
    pub(crate) fn move_app(&mut self, place: usize) {
        let now = self.now();
        let Some(app) = self.plan.apps.get(place) else {
            return;
        };
        let row = app_row(app, now);
        let app_id = app.app_id.clone();
        self.note(|| format!("{app_id} has the other merchant"));
        let registered = self.engine.register(&row);
        self.judge
            .hold(registered.is_ok(), || format!("{registered:?}"));
    }
}
