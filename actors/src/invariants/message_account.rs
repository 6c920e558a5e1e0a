//! Message accounting: the number of messages sent must equal those delivered, lost and in flight.
//!
//! A simulation sees every message and counts them all together in a [`MessageAccount`]. A process of a live run sees
//! only one end of each link direction. It has one [`Tally`] for each other process, which counts the messages sent to
//! that process and the messages received from it. When the run is over and no node sends any more, [`settle`] compares
//! the two counts of each link direction.
use super::Invariant;
use crate::id::HostId;
use serde::{Deserialize, Serialize};

/// The numbers of messages between the nodes of a run: sent, delivered and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageAccount {
    pub sent: u64,
    pub delivered: u64,
    pub lost: u64,
}

impl MessageAccount {
    /// Checks that all sent messages are delivered, lost or in flight.
    ///
    /// # Errors
    ///
    /// [`Invariant::MessagesBalanced`] if the counts do not add up.
    pub fn balance(&self, in_flight: u64) -> Result<(), Invariant> {
        if self.sent == self.delivered + self.lost + in_flight { Ok(()) } else { Err(Invariant::MessagesBalanced) }
    }
}

/// The numbers of messages, in both directions, between the nodes of one process and the nodes of another (or the same)
/// process, as the first process has counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The host of the other process.
    pub there: HostId,
    /// The incarnation of the other process, which tells it from earlier and later processes of its host.
    pub incarnation: u32,
    /// The number of messages that nodes of this process have sent to nodes of the other process.
    pub sent: u64,
    /// The number of messages in `sent` that were lost because there was no connection to the other process. The sender
    /// was told that the receiver is unreachable.
    pub lost: u64,
    /// The number of messages in `sent` that still wait in the sending process for the end of a partition.
    pub waiting: u64,
    /// The number of messages from nodes of the other process that were delivered to nodes of this process.
    pub delivered: u64,
    /// The number of messages that have arrived from the other process and wait in this process for their delivery
    /// time.
    pub held: u64,
    /// Whether the connection to the other process broke. Messages that were on it are lost.
    pub broken: bool,
}

impl Tally {
    pub fn of(there: HostId, incarnation: u32) -> Tally {
        Tally { there, incarnation, sent: 0, lost: 0, waiting: 0, delivered: 0, held: 0, broken: false }
    }
}

/// All message counts of one process: one [`Tally`] for each process with which it has exchanged messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub host: HostId,
    pub incarnation: u32,
    pub tallies: Vec<Tally>,
}

impl Account {
    fn tally(&self, other: &Account) -> Tally {
        let (there, incarnation) = (other.host, other.incarnation);
        let known = self.tallies.iter().find(|tally| (tally.there, tally.incarnation) == (there, incarnation));
        known.copied().unwrap_or(Tally::of(there, incarnation))
    }
}

/// A violation of message accounting: the sender and the receiver of one link direction have counted differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: HostId,
    pub to: HostId,
    pub account: MessageAccount,
    pub in_flight: u64,
}

/// Compares the accounts of all processes with each other, and returns the counts of all messages between them.
///
/// A process that has ended gives no account, and the messages between it and the others are not checked. On a
/// connection that broke, any number of messages may have been lost, but no more may have arrived than were sent.
///
/// # Errors
///
/// The first link direction with counts that do not add up.
pub fn settle(accounts: &[Account]) -> Result<MessageAccount, Gap> {
    let mut all = MessageAccount::default();
    for from in accounts {
        for to in accounts {
            let (out, into) = (from.tally(to), to.tally(from));
            let in_flight = out.waiting + into.held;
            let mut account = MessageAccount { sent: out.sent, delivered: into.delivered, lost: out.lost };
            if out.broken || into.broken {
                account.lost += account.sent.saturating_sub(account.delivered + account.lost + in_flight);
            }
            if account.balance(in_flight).is_err() {
                return Err(Gap { from: from.host, to: to.host, account, in_flight });
            }
            all.sent += account.sent;
            all.delivered += account.delivered;
            all.lost += account.lost;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{Account, Gap, MessageAccount, Tally, settle};
    use crate::id::HostId;
    use crate::invariants::Invariant;

    /// Returns the account of a process of `host` with counts for one other host.
    fn account_of(host: u32, there: u32, sent: u64, delivered: u64) -> Account {
        let tally = Tally { sent, delivered, ..Tally::of(HostId(there), 0) };
        Account { host: HostId(host), incarnation: 0, tallies: vec![tally] }
    }

    fn with(mut account: Account, change: impl FnOnce(&mut Tally)) -> Account {
        change(&mut account.tallies[0]);
        account
    }

    #[test]
    fn a_world_that_sees_all_counts_all() {
        let account = MessageAccount { sent: 9, delivered: 6, lost: 2 };
        assert_eq!(account.balance(1), Ok(()));
        assert_eq!(account.balance(0), Err(Invariant::MessagesBalanced), "one has vanished");
        assert_eq!(account.balance(2), Err(Invariant::MessagesBalanced), "one came twice");
    }

    #[test]
    fn both_ends_of_a_way_agree() {
        let all = settle(&[account_of(1, 2, 7, 5), account_of(2, 1, 5, 7)]);
        assert_eq!(all, Ok(MessageAccount { sent: 12, delivered: 12, lost: 0 }));
        // A process counts the messages between its own nodes in one tally, which is the sender's and the receiver's.
        assert_eq!(settle(&[account_of(1, 1, 3, 3)]), Ok(MessageAccount { sent: 3, delivered: 3, lost: 0 }));
        let waits = with(account_of(1, 2, 7, 5), |tally| (tally.waiting, tally.lost) = (2, 1));
        let holds = with(account_of(2, 1, 5, 3), |tally| tally.held = 1);
        assert_eq!(settle(&[waits, holds]), Ok(MessageAccount { sent: 12, delivered: 8, lost: 1 }));
    }

    #[test]
    fn what_has_vanished_or_came_twice_is_named_with_its_way() {
        let gap = |delivered| settle(&[account_of(1, 2, 7, 5), account_of(2, 1, 5, delivered)]).unwrap_err();
        let account = MessageAccount { sent: 7, delivered: 6, lost: 0 };
        assert_eq!(gap(6), Gap { from: HostId(1), to: HostId(2), account, in_flight: 0 });
        assert_eq!((gap(8).from, gap(8).account.delivered), (HostId(1), 8));
        let silent = Account { tallies: Vec::new(), ..account_of(2, 1, 0, 0) };
        assert_eq!(settle(&[account_of(1, 2, 7, 0), silent]).unwrap_err().account.sent, 7, "it has not heard of any");
        assert_eq!(settle(&[account_of(1, 1, 3, 2)]).unwrap_err().to, HostId(1));
    }

    #[test]
    fn a_connection_that_broke_excuses_what_is_missing_and_nothing_more() {
        let broken = || with(account_of(1, 2, 7, 5), |tally| tally.broken = true);
        assert_eq!(settle(&[broken(), account_of(2, 1, 5, 4)]), Ok(MessageAccount { sent: 12, delivered: 9, lost: 3 }));
        assert_eq!(
            settle(&[account_of(2, 1, 9, 7), broken()]),
            Ok(MessageAccount { sent: 16, delivered: 12, lost: 4 })
        );
        let gap = settle(&[broken(), account_of(2, 1, 5, 8)]).unwrap_err();
        assert_eq!((gap.from, gap.to), (HostId(1), HostId(2)), "more has come than was sent");
    }

    #[test]
    fn an_earlier_process_of_a_host_has_no_part_in_the_present_one() {
        let next = Account { incarnation: 1, ..account_of(2, 1, 0, 0) };
        assert_eq!(settle(&[account_of(1, 2, 7, 5), next]), Ok(MessageAccount::default()));
    }
}
