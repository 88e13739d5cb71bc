//! Requests that come sealed to the vault's channel key, and replies that go sealed to who asked.

use super::{Admitted, Vault};
use crate::error::{Fault, Refusal};
use crate::protocol::{REPLY_LEN, Reply};
use crate::session::{ChannelKey, ChannelProblem, Opened};

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
        let mut time_s = 0;
        self.journal.read(&mut |state| time_s = state.time_s())?;
        Ok(match &self.ring().channel {
            Some(keys) => keys.open(sealed, time_s),
            None => sealed.iter().map(|_| Err(ChannelProblem::UnknownKey)).collect(),
        })
    }

    /// [`Vault::process_bytes`] for sealed requests: replies sealed to who asked, all of one size. The account that the
    /// front-end admitted must be the one inside.
    ///
    /// # Errors
    /// A request's result is what is the matter with its seal; [`ChannelProblem::Busy`] if the vault cannot answer.
    pub fn process_sealed(&self, requests: &[Admitted<'_>]) -> Vec<Result<Vec<u8>, ChannelProblem>> {
        let busy = |fault: Fault| {
            tracing::error!(%fault, "a sealed request could not be answered");
            ChannelProblem::Busy
        };
        let sealed: Vec<_> = requests.iter().map(|it| it.request).collect();
        let opened = match self.open_requests(&sealed) {
            Ok(opened) => opened,
            Err(fault) => {
                let problem = busy(fault);
                return requests.iter().map(|_| Err(problem)).collect();
            }
        };
        let whole = requests.iter().zip(&opened).filter_map(|(it, opened)| Some((it.account, opened.as_ref().ok()?)));
        let admitted: Vec<_> =
            whole.map(|(account, opened)| Admitted { account, request: opened.request.expose() }).collect();
        let mut replies = self.process_bytes(&admitted).into_iter();
        let answer = |opened: &Result<Opened, ChannelProblem>| {
            let opened = opened.as_ref().map_err(|problem| *problem)?;
            let reply = replies.next().and_then(|reply| <[u8; REPLY_LEN]>::try_from(reply).ok());
            let reply = reply.or_else(|| Reply::Refused(Refusal::Busy).encode().try_into().ok());
            opened.reply_key.seal(&reply.ok_or(ChannelProblem::Busy)?).map_err(busy)
        };
        opened.iter().map(answer).collect()
    }
}
