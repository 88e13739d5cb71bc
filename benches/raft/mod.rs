//! The peer of the fleet's bench: openraft over redb and TCP, and nothing else. No anchor, no chain, no proof of a date, no
//! TLS, no accounts: what an entry says is counted and forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::result_large_err, reason = "openraft's errors are large, and its traits ask for them by value")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Cursor};
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, SnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::{
    AnyError, BasicNode, CommittedLeaderId, EntryPayload, ErrorSubject, ErrorVerb, LeaderId, LogId, OptionalSend,
    RaftLogReader, RaftSnapshotBuilder, SnapshotMeta, StorageError, StorageIOError, StoredMembership, TokioRuntime,
    Vote,
};
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::wire::{Invalid, Reader, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

openraft::declare_raft_types!(
    pub(crate) Plain:
        D = Arc<[u8]>,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<Plain>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<Plain>;
type Entry = openraft::Entry<Plain>;

const ROWS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("rows");
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
const FRAME_MAX: u32 = 64 << 20;

// ---- bytes

fn write_id(writer: &mut Writer, id: Option<&LogId<u64>>) {
    writer.flag(id.is_some());
    if let Some(id) = id {
        writer.u64(id.leader_id.term).u64(id.leader_id.node_id).u64(id.index);
    }
}

fn read_id(reader: &mut Reader<'_>) -> Result<Option<LogId<u64>>, Invalid> {
    if !reader.flag()? {
        return Ok(None);
    }
    let leader = CommittedLeaderId::new(reader.u64()?, reader.u64()?);
    Ok(Some(LogId::new(leader, reader.u64()?)))
}

fn write_vote(writer: &mut Writer, vote: &Vote<u64>) {
    writer.u64(vote.leader_id.term).u64(vote.leader_id.node_id).flag(vote.committed);
}

fn read_vote(reader: &mut Reader<'_>) -> Result<Vote<u64>, Invalid> {
    Ok(Vote { leader_id: LeaderId::new(reader.u64()?, reader.u64()?), committed: reader.flag()? })
}

fn write_entry(writer: &mut Writer, entry: &Entry) {
    write_id(writer, Some(&entry.log_id));
    match &entry.payload {
        EntryPayload::Blank => drop(writer.u8(0)),
        EntryPayload::Normal(bytes) => drop(writer.u8(1).counted(bytes)),
        EntryPayload::Membership(members) => {
            writer.u8(2).u8(members.voter_ids().count() as u8);
            for (number, node) in members.nodes() {
                writer.u64(*number).counted(node.addr.as_bytes());
            }
        }
    }
}

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, Invalid> {
    let log_id = read_id(reader)?.ok_or(Invalid)?;
    let payload = match reader.u8()? {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Arc::from(reader.counted(FRAME_MAX as usize)?)),
        _ => {
            let nodes: Result<BTreeMap<_, _>, Invalid> = (0..reader.u8()?)
                .map(|_| Ok((reader.u64()?, BasicNode::new(String::from_utf8_lossy(reader.counted(255)?)))))
                .collect();
            let nodes = nodes?;
            EntryPayload::Membership(openraft::Membership::new(vec![nodes.keys().copied().collect()], nodes))
        }
    };
    Ok(Entry { log_id, payload })
}

// ---- disk

#[derive(Clone)]
pub(crate) struct Log(Arc<Database>);

fn stored<E: std::error::Error + 'static>(done: Result<impl Sized, E>) -> Result<(), StorageError<u64>> {
    done.map(drop)
        .map_err(|error| StorageIOError::new(ErrorSubject::Store, ErrorVerb::Write, AnyError::new(&error)).into())
}

impl Log {
    fn create(file: &Path) -> Self {
        let database = Builder::new().create(file).unwrap();
        let write = database.begin_write().unwrap();
        drop((write.open_table(ROWS).unwrap(), write.open_table(META).unwrap()));
        write.commit().unwrap();
        Log(Arc::new(database))
    }

    fn write(&self, work: impl FnOnce(&redb::WriteTransaction)) -> Result<(), redb::CommitError> {
        let mut write = self.0.begin_write().unwrap();
        // As durable as ours, and as safe against bytes that somebody has chosen.
        write.set_durability(Durability::Immediate).unwrap();
        write.set_two_phase_commit(true);
        work(&write);
        write.commit()
    }
}

impl RaftLogReader<Plain> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError<u64>> {
        let bounds: (Bound<u64>, Bound<u64>) = (range.start_bound().cloned(), range.end_bound().cloned());
        let rows = self.0.begin_read().unwrap().open_table(ROWS).unwrap();
        let entry = |row: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &'static [u8]>), _>| {
            read_entry(&mut Reader::new(row.unwrap().1.value())).unwrap()
        };
        Ok(rows.range(bounds).unwrap().map(entry).collect())
    }
}

impl RaftLogStorage<Plain> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Plain>, StorageError<u64>> {
        let rows = self.0.begin_read().unwrap().open_table(ROWS).unwrap();
        let last = rows.last().unwrap().map(|(_, row)| read_entry(&mut Reader::new(row.value())).unwrap().log_id);
        Ok(LogState { last_purged_log_id: None, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let mut writer = Writer::default();
        write_vote(&mut writer, vote);
        let bytes = writer.finish();
        stored(self.write(|write| {
            write.open_table(META).unwrap().insert("vote", &bytes[..]).unwrap();
        }))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        let meta = self.0.begin_read().unwrap().open_table(META).unwrap();
        Ok(meta.get("vote").unwrap().map(|bytes| read_vote(&mut Reader::new(bytes.value())).unwrap()))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Plain>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        stored(self.write(|write| {
            let mut rows = write.open_table(ROWS).unwrap();
            for entry in entries {
                let mut writer = Writer::default();
                write_entry(&mut writer, &entry);
                rows.insert(entry.log_id.index, &writer.finish()[..]).unwrap();
            }
        }))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Result<(), StorageError<u64>> {
        stored(self.write(|write| {
            write.open_table(ROWS).unwrap().retain(|index, _| index < from.index).unwrap();
        }))
    }

    async fn purge(&mut self, _: LogId<u64>) -> Result<(), StorageError<u64>> {
        Ok(())
    }
}

// ---- state

/// Entries that were applied.
#[derive(Clone, Default)]
pub(crate) struct Machine(Arc<Mutex<Applied>>);

#[derive(Default)]
struct Applied {
    last: Option<LogId<u64>>,
    members: StoredMembership<u64, BasicNode>,
    entries: u64,
}

impl Machine {
    pub(crate) fn entries(&self) -> u64 {
        self.0.lock().unwrap().entries
    }
}

impl RaftStateMachine<Plain> for Machine {
    type SnapshotBuilder = Machine;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        let applied = self.0.lock().unwrap();
        Ok((applied.last, applied.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = self.0.lock().unwrap();
        let apply = |entry: Entry| {
            applied.last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(_) => applied.entries += 1,
                EntryPayload::Membership(it) => applied.members = StoredMembership::new(Some(entry.log_id), it),
                EntryPayload::Blank => {}
            }
        };
        Ok(entries.into_iter().map(apply).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        _: &SnapshotMeta<u64, BasicNode>,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        unreachable!("none is made")
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<openraft::Snapshot<Plain>>, StorageError<u64>> {
        Ok(None)
    }
}

impl RaftSnapshotBuilder<Plain> for Machine {
    async fn build_snapshot(&mut self) -> Result<openraft::Snapshot<Plain>, StorageError<u64>> {
        unreachable!("none is asked for")
    }
}

// ---- network

/// To every member a connection of its own, a request at a time.
pub(crate) struct Network;

pub(crate) struct Peer {
    address: String,
    stream: Option<TcpStream>,
}

impl RaftNetworkFactory<Plain> for Network {
    type Network = Peer;

    async fn new_client(&mut self, _: u64, node: &BasicNode) -> Peer {
        Peer { address: node.addr.clone(), stream: None }
    }
}

async fn write_frame(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&[&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()).await
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    if length > FRAME_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

impl Peer {
    async fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        write_frame(&mut stream, request).await?;
        let reply = read_frame(&mut stream).await?;
        self.stream = Some(stream);
        Ok(reply)
    }
}

type Failed<E = RaftError<u64>> = RPCError<u64, BasicNode, E>;

impl RaftNetwork<Plain> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Plain>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed> {
        let mut writer = Writer::default();
        write_vote(writer.u8(1), &request.vote);
        write_id(&mut writer, request.prev_log_id.as_ref());
        write_id(&mut writer, request.leader_commit.as_ref());
        writer.u32(request.entries.len() as u32);
        request.entries.iter().for_each(|entry| write_entry(&mut writer, entry));
        let reply = self.ask(&writer.finish()).await.map_err(|error| Failed::Unreachable(Unreachable::new(&error)))?;
        match reply[..] {
            [0] => Ok(AppendEntriesResponse::Success),
            [1] => Ok(AppendEntriesResponse::Conflict),
            [2, ref vote @ ..] => Ok(AppendEntriesResponse::HigherVote(read_vote(&mut Reader::new(vote)).unwrap())),
            _ => Err(Failed::Network(NetworkError::new(&io::Error::other("no reply")))),
        }
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<Plain>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failed<RaftError<u64, InstallSnapshotError>>> {
        unreachable!("none is made")
    }

    async fn vote(&mut self, request: VoteRequest<u64>, _: RPCOption) -> Result<VoteResponse<u64>, Failed> {
        let mut writer = Writer::default();
        write_vote(writer.u8(2), &request.vote);
        write_id(&mut writer, request.last_log_id.as_ref());
        let reply = self.ask(&writer.finish()).await.map_err(|error| Failed::Unreachable(Unreachable::new(&error)))?;
        let mut reader = Reader::new(&reply);
        let mut read = || Ok::<_, Invalid>((read_vote(&mut reader)?, reader.flag()?, read_id(&mut reader)?));
        let (vote, vote_granted, last_log_id) =
            read().map_err(|_| Failed::Network(NetworkError::new(&io::Error::other("no reply"))))?;
        Ok(VoteResponse { vote, vote_granted, last_log_id })
    }

    async fn full_snapshot(
        &mut self,
        _: Vote<u64>,
        _: openraft::Snapshot<Plain>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Plain, Fatal<u64>>> {
        unreachable!("none is made")
    }
}

async fn answer(raft: &Raft, request: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut reader = Reader::new(request);
    let mut writer = Writer::default();
    match reader.u8()? {
        1 => {
            let (vote, prev_log_id) = (read_vote(&mut reader)?, read_id(&mut reader)?);
            let leader_commit = read_id(&mut reader)?;
            let entries = (0..reader.u32()?).map(|_| read_entry(&mut reader)).collect::<Result<_, _>>()?;
            let request = AppendEntriesRequest { vote, prev_log_id, entries, leader_commit };
            match raft.append_entries(request).await.map_err(|_| Invalid)? {
                AppendEntriesResponse::Success => drop(writer.u8(0)),
                AppendEntriesResponse::HigherVote(vote) => write_vote(writer.u8(2), &vote),
                _ => drop(writer.u8(1)),
            }
        }
        _ => {
            let request = VoteRequest { vote: read_vote(&mut reader)?, last_log_id: read_id(&mut reader)? };
            let response = raft.vote(request).await.map_err(|_| Invalid)?;
            write_vote(&mut writer, &response.vote);
            writer.flag(response.vote_granted);
            write_id(&mut writer, response.last_log_id.as_ref());
        }
    }
    Ok(writer.finish())
}

/// Runs a member, which answers the others at its name; the first leads.
pub(crate) async fn run(folder: &Path, number: u64, names: &[String], heartbeat: Duration) -> (Raft, Machine) {
    let heartbeat = heartbeat.as_millis() as u64;
    let config = openraft::Config {
        heartbeat_interval: heartbeat,
        election_timeout_min: heartbeat * 4,
        election_timeout_max: heartbeat * 8,
        enable_elect: number == 1,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        ..openraft::Config::default()
    };
    let (log, machine) = (Log::create(&folder.join("plain.redb")), Machine::default());
    let listener = TcpListener::bind(&names[number as usize - 1]).await.unwrap();
    let raft = Raft::new(number, Arc::new(config), Network, log, machine.clone()).await.unwrap();
    let answers = raft.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let raft = answers.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).ok();
                while let Ok(request) = read_frame(&mut stream).await {
                    let Ok(reply) = answer(&raft, &request).await else { return };
                    if write_frame(&mut stream, &reply).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    if number == 1 {
        let nodes: BTreeMap<_, _> = (1..).zip(names.iter().map(BasicNode::new)).collect();
        raft.initialize(nodes).await.unwrap();
    }
    (raft, machine)
}
