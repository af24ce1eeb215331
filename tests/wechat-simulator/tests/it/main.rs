//! Black-box tests of the simulator: everything goes through HTTP, with a
//! merchant that listens for notifications.

#[cfg(test)]
mod account;
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod notifications;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod payment_codes;
#[cfg(test)]
mod phone;
#[cfg(test)]
mod refunds;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod v3_client;
mod v3_codes;
#[cfg(test)]
mod v3_keys;
#[cfg(test)]
mod v3_notifications;
#[cfg(test)]
mod v3_orders;
#[cfg(test)]
mod v3_phone;
#[cfg(test)]
mod v3_refunds;
