//! Links over TLS: who is at the other end, and what a stranger gets.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, NamedGroup, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::{FLEET, Fleet, address, head, link_key};
use crate::fleet::link::{Address, Links};
use crate::fleet::message::{Refused, Reply, Request};
use crate::fleet::stream::{Dialled, Dials, Streams};
use crate::fleet::tls::{LinkKey, TcpDials, Tls};
use crate::fleet::version::NEWEST;
use crate::secret::Secret;

fn tls(number: u64) -> Tls {
    Tls::new(&FLEET, link_key(number))
}

/// Member 1, whom others may speak to, and a fleet around it.
async fn fleet() -> Fleet {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    fleet
}

/// Whether this one, dialling an address, is taken by member 1 for a member, and which; and else what it is told.
async fn taken(fleet: &Fleet, dialling: &Tls, dialled: &Address, answering: &Tls) -> Result<u64, ErrorKind> {
    let (near, far) = duplex(64 * 1024);
    let acceptor = answering.acceptor(&fleet.replica(1)).unwrap();
    match tokio::join!(dialling.connect(near, dialled), acceptor.accept(far)) {
        (Ok(_), Ok((member, _))) => Ok(member),
        (Err(error), Err(_)) => Err(error.kind()),
        (one, other) => panic!("one end alone is content: {:?} {:?}", one.err(), other.err()),
    }
}

#[tokio::test(start_paused = true)]
async fn fleet_links_know_both_ends() {
    let fleet = fleet().await;
    let stranger = || Tls::new(&FLEET, LinkKey::new(&Secret::new([200; 32])));
    let elsewhere = |number| Tls::new(&[8; 32], link_key(number));
    assert_eq!(taken(&fleet, &tls(2), &address(1), &tls(1)).await, Ok(2));
    assert_eq!(taken(&fleet, &tls(3), &address(1), &tls(1)).await, Ok(3));
    let denied = Err(ErrorKind::PermissionDenied);
    assert_eq!(taken(&fleet, &stranger(), &address(1), &tls(1)).await, denied, "a key that no member has");
    assert_eq!(taken(&fleet, &tls(4), &address(1), &tls(1)).await, denied, "a key that no member has yet");
    for (what, dialling, answering) in [
        ("a stranger answers", tls(2), stranger()),
        ("another member answers", tls(2), tls(3)),
        ("a member that speaks for another fleet", elsewhere(2), tls(1)),
        ("one that answers for another fleet", tls(2), elsewhere(1)),
    ] {
        let told = taken(&fleet, &dialling, &address(1), &answering).await;
        assert!(told.is_err_and(|it| it != ErrorKind::PermissionDenied), "{what}: {told:?}");
    }
    let (near, _far) = duplex(64 * 1024);
    assert!(tls(1).connect(near, &address(1)).await.is_err(), "a member does not speak with itself");
}

/// Somebody in between, who sends back what one end says, or has recorded it.
#[tokio::test(start_paused = true)]
async fn fleet_links_take_neither_reflection_nor_replay() {
    let fleet = fleet().await;
    let acceptor = tls(1).acceptor(&fleet.replica(1)).unwrap();
    let (near, mut middle) = duplex(64 * 1024);
    let dialling = tls(2);
    let at = address(1);
    let (connected, ()) = tokio::join!(dialling.connect(near, &at), async {
        let mut said = vec![0; 64 * 1024];
        let length = middle.read(&mut said).await.unwrap();
        middle.write_all(&said[..length]).await.unwrap();
    });
    assert!(connected.is_err(), "its own hello is no answer");

    // A whole conversation of a member is recorded, then played again.
    let (near, mut middle_near) = duplex(64 * 1024);
    let (mut middle_far, far) = duplex(64 * 1024);
    let recorded = Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = Arc::clone(&recorded);
    tokio::spawn(async move {
        let (mut near_read, mut near_write) = tokio::io::split(&mut middle_near);
        let (mut far_read, mut far_write) = tokio::io::split(&mut middle_far);
        let there = async {
            let mut bytes = vec![0; 4096];
            while let Ok(length @ 1..) = near_read.read(&mut bytes).await {
                record.lock().unwrap().extend_from_slice(&bytes[..length]);
                far_write.write_all(&bytes[..length]).await.ok();
            }
        };
        tokio::join!(there, tokio::io::copy(&mut far_read, &mut near_write)).1.ok();
    });
    let (connected, accepted) = tokio::join!(dialling.connect(near, &at), acceptor.accept(far));
    let (mut connected, (member, mut accepted)) = (connected.unwrap(), accepted.unwrap());
    assert_eq!(member, 2);
    connected.write_all(b"a message").await.unwrap();
    connected.flush().await.unwrap();
    let mut heard = [0; 9];
    accepted.read_exact(&mut heard).await.unwrap();
    let recorded = recorded.lock().unwrap().clone();
    assert!(recorded.windows(9).all(|it| it != b"a message"), "it is not readable on the way");
    let (mut near, far) = duplex(64 * 1024);
    let (_, again) =
        tokio::join!(near.write_all(&recorded), tokio::time::timeout(Duration::from_secs(60), acceptor.accept(far)));
    assert!(!matches!(again, Ok(Ok(_))), "said again it is nothing");
}

/// What offers another exchange of keys is turned away.
#[tokio::test(start_paused = true)]
async fn fleet_links_are_tls_13_with_x25519mlkem768_alone() {
    let fleet = fleet().await;
    let acceptor = tls(1).acceptor(&fleet.replica(1)).unwrap();
    let mut provider = default_provider();
    provider.kx_groups.retain(|it| it.name() == NamedGroup::X25519);
    assert_eq!(provider.kx_groups.len(), 1);
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&TLS13]).unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("member").unwrap();
    let (connected, accepted) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    let refused = accepted.err().unwrap().to_string();
    assert!(connected.is_err() && refused.contains("NoKxGroupsInCommon"), "{refused}");
    let (near, far) = duplex(64 * 1024);
    let (dialling, at) = (tls(2), address(1));
    let (connected, accepted) = tokio::join!(dialling.connect(near, &at), acceptor.accept(far));
    let connected = connected.unwrap();
    let connection = connected.get_ref().1;
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(connection.negotiated_key_exchange_group().map(|it| it.name()), Some(NamedGroup::X25519MLKEM768));
    assert_eq!(accepted.unwrap().0, 2);
}

/// Dials of a network on which every stream takes a while to stand, and counts them.
struct Slow(Arc<AtomicUsize>);

impl Dials for Slow {
    type Stream = tokio::io::DuplexStream;

    fn dial<'a>(&'a self, _: u64, _: &'a Address) -> Dialled<'a, Self::Stream> {
        Box::pin(async move {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (near, far) = duplex(64 * 1024);
            let (mut reader, mut writer) = tokio::io::split(far);
            tokio::spawn(async move { tokio::io::copy(&mut reader, &mut writer).await });
            Ok(near)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn fleet_calls_that_begin_together_share_one_stream() {
    let dialled = Arc::new(AtomicUsize::new(0));
    let (links, at) = (Arc::new(Streams::new(Slow(Arc::clone(&dialled)))), address(1));
    let call = |words: &'static [u8]| links.call(1, &at, words.to_vec());
    // The other end says back what it hears, so a reply is the words.
    let replies = tokio::join!(call(b"vote"), call(b"append"), call(b"ask"));
    assert_eq!([replies.0.unwrap(), replies.1.unwrap(), replies.2.unwrap()], [&b"vote"[..], b"append", b"ask"]);
    assert_eq!(dialled.load(Ordering::Relaxed), 1);
}

/// Who holds as many handshakes as an address may keeps nobody else from theirs.
#[tokio::test]
async fn fleet_links_are_not_held_up_by_one_address() {
    let fleet = fleet().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = Address { name: listener.local_addr().unwrap().to_string(), ..address(1) };
    let _listening = tokio::spawn(tls(1).acceptor(&fleet.replica(1)).unwrap().listen(listener));
    let mut idle = Vec::new();
    for _ in 0..16 {
        idle.push(TcpStream::connect(&at.name).await.unwrap());
    }
    let mut more = TcpStream::connect(&at.name).await.unwrap();
    assert_eq!(more.read(&mut [0; 1]).await.unwrap_or(0), 0, "one too many of this address is turned away at once");
    let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = elsewhere.connect(at.name.parse().unwrap()).await.unwrap();
    tls(2).connect(stream, &at).await.expect("another address has places of its own");
    drop(idle);
}

/// Over sockets of the system: a member asks another, a stranger asks nobody.
#[tokio::test]
async fn fleet_answers_over_sockets() {
    let mut fleet = Fleet::of(1).await;
    fleet.leader(None).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = Address { name: listener.local_addr().unwrap().to_string(), ..address(1) };
    let listening = tokio::spawn(tls(1).acceptor(&fleet.replica(1)).unwrap().listen(listener));
    let links = Streams::new(TcpDials::new(tls(2)));
    let refused = links.call(1, &at, Request::Confirm.encode(head(1_000))).await.err().map(|it| it.kind());
    assert_eq!(refused, Some(ErrorKind::PermissionDenied), "2 is no member of a fleet of one");
    let mut silent = TcpStream::connect(&at.name).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.ok();
    assert!(rest.len() < 64, "an alert, and the end");

    let two = fleet.next_statement(1, &super::addresses([1, 2]), &super::signers());
    fleet.obey(1, &two).await.unwrap();
    fleet.join(2, &two).await.unwrap();
    let mut answer = None;
    for _ in 0..200 {
        if let Ok(reply) = links.call(1, &at, Request::Confirm.encode(head(1_000))).await {
            answer = Some(Reply::decode(&reply, NEWEST).unwrap().what);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(matches!(answer, Some(Reply::Confirmed(_) | Reply::Refused(Refused::Busy))), "{answer:?}");
    listening.abort();
    listening.await.unwrap_err();
    assert!(links.call(1, &at, Request::Confirm.encode(head(1_000))).await.is_err(), "nobody listens any more");
}
