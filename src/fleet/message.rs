//! What replicas say to each other: one request, one reply, each in one encoding of bounded size.
//!
//! Every message begins with its version, the newest that its speaker reads, and the speaker's clock; these stand there in every
//! version. The link says who speaks, and a request that only one
//! member may make, as a leader or for itself, is refused from any other; so what one member said is of no use to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::consensus::{Entry, Origin, Vote, leader_of, read_addresses, vote_for, write_addresses};
use super::link::Address;
use super::log::Place;
use super::row::{FRAME_LEN, read_entry, write_entry};
use super::version::{Head, OLDEST};
use crate::journal::{Leader, LogId};
use crate::limits::{BATCH_MAX, HANDED_MAX, ROW_MAX};
use crate::session::PUBLIC_KEY_LEN;
use crate::wire::{Invalid, Reader, Writer};

/// Entries of a message, but for one that is larger by itself, in bytes.
pub(super) const ENTRIES_BYTES: usize = 4 << 20;
/// Most entries of a message.
const ENTRIES_MAX: u32 = 4096;
/// Longest message, in bytes.
pub const MESSAGE_MAX: usize = ENTRIES_BYTES + ROW_MAX + FRAME_LEN + 1024;
/// Highest term that is listened to: behind the last of all there could be no election, and whoever told of it had ended the fleet.
const TERM_MAX: u64 = 1 << 62;
/// Longest head of a checkpoint.
const HEAD_MAX: usize = 4 << 20;

pub(super) enum Request {
    /// Of a leader: these entries follow that place.
    Append { vote: Vote, previous: Option<Place>, commit: Option<LogId>, entries: Vec<Entry> },
    /// Of a candidate, whose log ends there.
    Vote { vote: Vote, last: Option<LogId> },
    /// Of any member, to the leader: a batch of its own.
    Propose { origin: Origin, version: u8, count: u32, content: Arc<[u8]> },
    /// Of any member, to the leader: up to where does one see all that was acknowledged before now?
    Confirm,
    /// Of a leader: a checkpoint begins.
    CheckpointBegins { vote: Vote, head: Vec<u8> },
    /// The part of this number, from 0.
    CheckpointPart { vote: Vote, number: u32, part: Vec<u8> },
    /// All of it has been sent.
    CheckpointEnds { vote: Vote },
    /// Of a member that hears no leader: who are the members?
    Members,
    /// Of a leader, to who is to join: have you the fleet's key and policy?
    Prove,
    /// Of any member, for itself: the fleet's keys, sealed to its channel key.
    Keys { public_key: Box<[u8; PUBLIC_KEY_LEN]> },
    /// Of any member: what are keys sealed to that are for you?
    ChannelKey,
    /// Of any member: keep what I am about to turn to, sealed to your channel key.
    Keep { sealed: Vec<u8> },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The entries are on disk and anchored; the chain at the last of them, or at the place they follow.
    Appended { chain: Option<[u8; 32]> },
    /// The place they are to follow is not there.
    Conflict,
    /// A vote that stands above the leader's.
    HigherVote(Vote),
    /// What came of a vote.
    Voted { vote: Vote, granted: bool, last: Option<LogId> },
    /// The batch is committed.
    Taken,
    /// Another member leads, or nobody that is known.
    NotLeader(Option<u64>),
    /// Whoever has applied this has seen all.
    Confirmed(Option<LogId>),
    /// Go on.
    Continue,
    /// The checkpoint is installed, or was not needed; the vote that stands now.
    Installed(Vote),
    /// These are.
    Members(BTreeMap<u64, Address>),
    /// A MAC over the replica's number and policy.
    Proof([u8; 32]),
    /// The fleet's keys, sealed to who has asked.
    Keys(Vec<u8>),
    /// This is.
    ChannelKey(Box<[u8; PUBLIC_KEY_LEN]>),
    /// It is on disk.
    Kept,
    /// It is turned down.
    Refused(Refused),
}

/// Why a replica turns a message down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not a message.
    Malformed,
    /// It speaks for another than the one who sent it.
    Foreign,
    /// It is dated too far ahead.
    Skew,
    /// It is of another history.
    Fork,
    /// It cannot be done now.
    Busy,
    /// The replica has stopped.
    Stopped,
    /// It has members whom no statement of both signers names.
    Members,
    /// It is of a version that the replica does not read.
    Version,
}

impl Refused {
    const ALL: [Refused; 8] = [
        Refused::Malformed,
        Refused::Foreign,
        Refused::Skew,
        Refused::Fork,
        Refused::Busy,
        Refused::Stopped,
        Refused::Members,
        Refused::Version,
    ];
}

/// A message, and what stands before it.
pub(super) struct Said<T> {
    pub(super) head: Head,
    pub(super) what: T,
}

fn write_vote(writer: &mut Writer, vote: &Vote) {
    leader_of(&vote.leader_id).write(writer);
    writer.flag(vote.committed);
}

fn read_vote(reader: &mut Reader<'_>) -> Result<Vote, Invalid> {
    let leader = Leader::read(reader)?;
    if leader.term > TERM_MAX {
        return Err(Invalid);
    }
    Ok(vote_for(leader, reader.flag()?))
}

fn write_id(writer: &mut Writer, id: Option<LogId>) {
    writer.flag(id.is_some());
    id.iter().for_each(|id| id.write(writer));
}

fn read_id(reader: &mut Reader<'_>) -> Result<Option<LogId>, Invalid> {
    if reader.flag()? { LogId::read(reader).map(Some) } else { Ok(None) }
}

/// Why what was heard is no message to this member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    Malformed,
    /// It is of a version that this member does not read.
    Version(Head),
}

impl From<Invalid> for Unheard {
    fn from(Invalid: Invalid) -> Self {
        Unheard::Malformed
    }
}

fn said(head: Head, room: usize, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::with_capacity(room + 256);
    writer.u8(head.version).u8(head.reads).u64(head.time_s);
    #[cfg(feature = "planted")]
    if head.version == super::version::NEXT {
        writer.u8(super::version::NEXT);
    }
    write(&mut writer);
    writer.finish()
}

fn hear<T>(
    bytes: &[u8],
    newest: u8,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Invalid>,
) -> Result<Said<T>, Unheard> {
    let mut reader = Reader::new(bytes);
    if bytes.len() > MESSAGE_MAX {
        return Err(Unheard::Malformed);
    }
    let head = Head { version: reader.u8()?, reads: reader.u8()?, time_s: reader.u64()? };
    if !(OLDEST..=newest).contains(&head.version) {
        return Err(Unheard::Version(head));
    }
    #[cfg(feature = "planted")]
    if head.version == super::version::NEXT && reader.u8()? != super::version::NEXT {
        return Err(Unheard::Malformed);
    }
    let what = read(&mut reader)?;
    reader.finish()?;
    Ok(Said { head, what })
}

impl Request {
    pub(super) fn encode(&self, head: Head) -> Vec<u8> {
        let room = match self {
            Request::Append { entries, .. } => entries.iter().map(size_of_entry).sum(),
            Request::Propose { content, .. } => content.len(),
            Request::CheckpointBegins { head: bytes, .. } | Request::CheckpointPart { part: bytes, .. } => bytes.len(),
            Request::Keys { public_key } => public_key.len(),
            Request::Keep { sealed } => sealed.len(),
            Request::Vote { .. }
            | Request::Confirm
            | Request::CheckpointEnds { .. }
            | Request::Members
            | Request::Prove
            | Request::ChannelKey => 0,
        };
        said(head, room, |writer| self.write(writer))
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Request::Append { vote, previous, commit, entries } => {
                write_vote(writer.u8(1), vote);
                writer.flag(previous.is_some());
                if let Some(Place { id, chain }) = previous {
                    id.write(writer);
                    writer.bytes(chain);
                }
                write_id(writer, *commit);
                writer.u32(entries.len() as u32);
                entries.iter().for_each(|entry| write_entry(writer, entry));
            }
            Request::Vote { vote, last } => {
                write_vote(writer.u8(2), vote);
                write_id(writer, *last);
            }
            Request::Propose { origin, version, count, content } => {
                origin.write(writer.u8(3));
                writer.u8(*version).u32(*count).counted(content);
            }
            Request::Confirm => {
                writer.u8(4);
            }
            Request::CheckpointBegins { vote, head } => {
                write_vote(writer.u8(5), vote);
                writer.counted(head);
            }
            Request::CheckpointPart { vote, number, part } => {
                write_vote(writer.u8(6), vote);
                writer.u32(*number).counted(part);
            }
            Request::CheckpointEnds { vote } => write_vote(writer.u8(7), vote),
            Request::Members => {
                writer.u8(8);
            }
            Request::Prove => {
                writer.u8(9);
            }
            Request::Keys { public_key } => {
                writer.u8(10).bytes(&**public_key);
            }
            Request::ChannelKey => {
                writer.u8(11);
            }
            Request::Keep { sealed } => {
                writer.u8(12).counted(sealed);
            }
        }
    }

    pub(super) fn decode(bytes: &[u8], newest: u8) -> Result<Said<Self>, Unheard> {
        hear(bytes, newest, |reader| {
            Ok(match reader.u8()? {
                1 => Request::Append {
                    vote: read_vote(reader)?,
                    previous: if reader.flag()? {
                        Some(Place { id: LogId::read(reader)?, chain: *reader.array()? })
                    } else {
                        None
                    },
                    commit: read_id(reader)?,
                    entries: {
                        let count = Some(reader.u32()?).filter(|it| *it <= ENTRIES_MAX).ok_or(Invalid)?;
                        (0..count).map(|_| read_entry(reader)).collect::<Result<_, _>>()?
                    },
                },
                2 => Request::Vote { vote: read_vote(reader)?, last: read_id(reader)? },
                3 => Request::Propose {
                    origin: Origin::read(reader)?,
                    version: reader.u8()?,
                    count: Some(reader.u32()?).filter(|it| *it as usize <= BATCH_MAX).ok_or(Invalid)?,
                    content: Arc::from(reader.counted(ROW_MAX)?),
                },
                4 => Request::Confirm,
                5 => Request::CheckpointBegins { vote: read_vote(reader)?, head: reader.counted(HEAD_MAX)?.to_vec() },
                6 => Request::CheckpointPart {
                    vote: read_vote(reader)?,
                    number: reader.u32()?,
                    part: reader.counted(HEAD_MAX)?.to_vec(),
                },
                7 => Request::CheckpointEnds { vote: read_vote(reader)? },
                8 => Request::Members,
                9 => Request::Prove,
                10 => Request::Keys { public_key: Box::new(*reader.array()?) },
                11 => Request::ChannelKey,
                12 => Request::Keep { sealed: reader.counted(HANDED_MAX)?.to_vec() },
                _ => return Err(Invalid),
            })
        })
    }
}

impl Reply {
    pub(super) fn encode(&self, head: Head) -> Vec<u8> {
        said(head, 0, |writer| match self {
            Reply::Appended { chain } => {
                writer.u8(1).flag(chain.is_some());
                if let Some(chain) = chain {
                    writer.bytes(chain);
                }
            }
            Reply::Conflict => {
                writer.u8(2);
            }
            Reply::HigherVote(vote) => write_vote(writer.u8(3), vote),
            Reply::Voted { vote, granted, last } => {
                write_vote(writer.u8(4), vote);
                writer.flag(*granted);
                write_id(writer, *last);
            }
            Reply::Taken => {
                writer.u8(5);
            }
            Reply::NotLeader(leader) => {
                writer.u8(6).flag(leader.is_some()).u64(leader.unwrap_or_default());
            }
            Reply::Confirmed(id) => write_id(writer.u8(7), *id),
            Reply::Continue => {
                writer.u8(8);
            }
            Reply::Installed(vote) => write_vote(writer.u8(9), vote),
            Reply::Members(members) => write_addresses(writer.u8(11), members.iter()),
            Reply::Proof(mac) => {
                writer.u8(12).bytes(mac);
            }
            Reply::Keys(sealed) => {
                writer.u8(13).counted(sealed);
            }
            Reply::ChannelKey(key) => {
                writer.u8(14).bytes(&**key);
            }
            Reply::Kept => {
                writer.u8(15);
            }
            Reply::Refused(why) => {
                writer.u8(10).u8(Refused::ALL.iter().position(|it| it == why).unwrap_or_default() as u8);
            }
        })
    }

    pub(super) fn decode(bytes: &[u8], newest: u8) -> Result<Said<Self>, Unheard> {
        hear(bytes, newest, |reader| {
            Ok(match reader.u8()? {
                1 => Reply::Appended { chain: if reader.flag()? { Some(*reader.array()?) } else { None } },
                2 => Reply::Conflict,
                3 => Reply::HigherVote(read_vote(reader)?),
                4 => Reply::Voted { vote: read_vote(reader)?, granted: reader.flag()?, last: read_id(reader)? },
                5 => Reply::Taken,
                6 => {
                    let (known, leader) = (reader.flag()?, reader.u64()?);
                    if !known && leader != 0 {
                        return Err(Invalid);
                    }
                    Reply::NotLeader(known.then_some(leader))
                }
                7 => Reply::Confirmed(read_id(reader)?),
                8 => Reply::Continue,
                9 => Reply::Installed(read_vote(reader)?),
                10 => Reply::Refused(*Refused::ALL.get(usize::from(reader.u8()?)).ok_or(Invalid)?),
                11 => Reply::Members(read_addresses(reader)?),
                12 => Reply::Proof(*reader.array()?),
                13 => Reply::Keys(reader.counted(HANDED_MAX)?.to_vec()),
                14 => Reply::ChannelKey(Box::new(*reader.array()?)),
                15 => Reply::Kept,
                _ => return Err(Invalid),
            })
        })
    }
}

/// What an entry takes of a message, about.
pub(super) fn size_of_entry(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => FRAME_LEN + proposal.content.len(),
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 1024,
    }
}
