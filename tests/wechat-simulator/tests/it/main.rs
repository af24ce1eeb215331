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
