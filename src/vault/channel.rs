//! Requests that come sealed to the vault's channel key, and replies that go sealed to who asked.

use super::{Admitted, Vault};
use crate::error::{Fault, Refusal};
use crate::protocol::{REPLY_LEN, Reply};
use crate::session::{ChannelKey, ChannelProblem, Opened, ReplyKey};

/// What a sealed request comes to: the sealed reply's bytes.
pub(super) type SealedOutcome = Result<Vec<u8>, ChannelProblem>;

impl Vault {
    /// What clients seal their requests to, or `None` where the policy wants a bundle and there is none yet.
    pub fn channel_key(&self) -> Option<ChannelKey> {
        self.ring().channel.as_ref().map(|keys| keys.key())
    }

    /// Opens sealed requests, for those who put them into a [`Queue`](super::Queue) themselves: each comes with the key that
    /// its reply is to be sealed under.
    ///
    /// # Errors
    /// The journal's fault; a request's own result is what is the matter with it.
    pub fn open_requests(&self, sealed: &[&[u8]]) -> Result<Vec<Result<Opened, ChannelProblem>>, Fault> {
        // As it is known here: what is asked is answered by the journal or by nobody, and a fleet need not say the time before.
        let mut time_s = 0;
        self.journal.look(&mut |state| time_s = state.time_s())?;
        Ok(match &self.ring().channel {
            Some(keys) => keys.open(sealed, time_s),
            None => sealed.iter().map(|_| Err(ChannelProblem::UnknownKey)).collect(),
        })
    }

    /// [`Vault::open_requests`], where a fault is everybody's [`ChannelProblem::Busy`].
    pub(super) fn open_or_busy(&self, sealed: &[&[u8]]) -> Vec<Result<Opened, ChannelProblem>> {
        self.open_requests(sealed).unwrap_or_else(|fault| {
            let problem = busy(&fault);
            sealed.iter().map(|_| Err(problem)).collect()
        })
    }

    /// [`Vault::process`] for sealed requests: replies sealed to who asked, all of one size. The account that the front-end
    /// admitted must be the one inside.
    ///
    /// # Errors
    /// A request's result is what is the matter with its seal; [`ChannelProblem::Busy`] if the vault cannot answer.
    pub fn process_sealed(&self, requests: &[Admitted<'_>]) -> Vec<SealedOutcome> {
        let opened = self.open_or_busy(&requests.iter().map(|it| it.request).collect::<Vec<_>>());
        let whole = requests.iter().zip(&opened).filter_map(|(it, opened)| Some((it.account, opened.as_ref().ok()?)));
        let admitted: Vec<_> =
            whole.map(|(account, opened)| Admitted { account, request: opened.request.expose() }).collect();
        let mut answers = self.process(&admitted).into_iter();
        let answer = |opened: Result<Opened, ChannelProblem>| {
            seal(&opened?.reply_key, answers.next().unwrap_or(Ok(Reply::Refused(Refusal::Busy))))
        };
        opened.into_iter().map(answer).collect()
    }
}

/// A reply as bytes for who asked. A fault is the operator's to hear, and told as [`Refusal::Busy`].
pub(super) fn seal(key: &ReplyKey, answer: Result<Reply, Fault>) -> SealedOutcome {
    let reply = answer.unwrap_or_else(|fault| {
        busy(&fault);
        Reply::Refused(Refusal::Busy)
    });
    // Every reply has this length.
    let reply: [u8; REPLY_LEN] = reply.encode().try_into().map_err(|_| ChannelProblem::Busy)?;
    key.seal(&reply).map_err(|fault| busy(&fault))
}

fn busy(fault: &Fault) -> ChannelProblem {
    tracing::error!(%fault, "a sealed request could not be answered");
    ChannelProblem::Busy
}
