//! Tests of the server side of TLS: what is accepted, refused and resumed, at every split.

use super::*;
use crate::base::time::UnixS;
use rustls::client::WebPkiServerVerifier;
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

const AUTHORITY: &str = include_str!("../../../../tests/certificates/authority.pem");
const P256: [&str; 2] = [
    include_str!("../../../../tests/certificates/p256.pem"),
    include_str!("../../../../tests/certificates/p256.key.pem"),
];
const RSA: [&str; 2] = [
    include_str!("../../../../tests/certificates/rsa.pem"),
    include_str!("../../../../tests/certificates/rsa.key.pem"),
];
const ED25519: [&str; 2] = [
    include_str!("../../../../tests/certificates/ed25519.pem"),
    include_str!("../../../../tests/certificates/ed25519.key.pem"),
];
const NAMELESS: &str = include_str!("../../../../tests/certificates/nameless.pem");
const NAME: &str = "chat.example.org";

fn acceptor([certificate, key]: [&str; 2]) -> Result<Acceptor, CertificateFault> {
    let tickets = Tickets::new().expect("randomness");
    Acceptor::new(certificate.as_bytes(), key.as_bytes(), &tickets)
}

fn client_config(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).expect("a certificate");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_webpki_verifier(verifier.build().expect("roots"))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn client(config: &Arc<ClientConfig>, name: &str) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}

/// What a talk came to.
#[derive(Debug, PartialEq, Eq)]
struct Talked {
    version: ProtocolVersion,
    resumed: bool,
    echo: Vec<u8>,
}

/// The client sends hello at once, and closes after the echo. Both sides send in pieces of `size`.
fn talk(acceptor: &Acceptor, mut client: ClientConnection, size: usize) -> Result<Talked, String> {
    let mut session = acceptor.accept().expect("a session");
    let (mut plain, mut echo, mut echoed) = (Vec::new(), Vec::new(), false);
    client.writer().write_all(b"hello").expect("written");
    for _ in 0..64 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("a Vec takes all");
        }
        for piece in wire.chunks(size) {
            if session.is_handshaking() {
                assert!(plain.is_empty());
                if session.take(piece).map_err(|error| error.to_string())? {
                    session.work().map_err(|error| error.to_string())?;
                    session.take_plain(&mut plain).map_err(|error| error.to_string())?;
                }
            } else {
                session.receive(piece, &mut plain).map_err(|error| error.to_string())?;
            }
        }
        if plain == b"hello" && !echoed {
            let slices = [IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo and more")];
            assert_eq!(session.encrypt(&slices, 5).expect("encrypted"), 5);
            echoed = true;
        }
        let mut wire = Vec::new();
        while session.has_output() {
            session.write_to(&mut wire).expect("a Vec takes all");
        }
        for mut piece in wire.chunks(size) {
            while !piece.is_empty() {
                client.read_tls(&mut piece).expect("read");
                client.process_new_packets().map_err(|error| error.to_string())?;
            }
        }
        match client.reader().read_to_end(&mut echo) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if session.peer_closed() {
            let version = client.protocol_version().expect("a version");
            assert_eq!(client.handshake_kind() == Some(HandshakeKind::Resumed), session.is_resumed());
            return Ok(Talked { version, resumed: session.is_resumed(), echo });
        }
        if echo == b"hello" {
            client.send_close_notify();
        }
    }
    panic!("the talk does not end");
}

#[test]
fn every_kind_of_key_speaks_both_versions_however_the_bytes_are_cut() {
    for pair in [P256, RSA, ED25519] {
        let acceptor = acceptor(pair).expect("a pair");
        for (versions, version) in
            [(&[&TLS12], ProtocolVersion::TLSv1_2), (&[&TLS13], ProtocolVersion::TLSv1_3)]
        {
            let config = client_config(versions, &["h2", "http/1.1"]);
            for (size, resumed) in [(usize::MAX, false), (1, true), (5, true), (100, true)] {
                let talked = talk(&acceptor, client(&config, NAME), size);
                assert_eq!(talked, Ok(Talked { version, resumed, echo: b"hello".to_vec() }), "{size}");
            }
        }
    }
}

#[test]
fn a_ticket_outlives_its_certificate() {
    let tickets = Tickets::new().expect("randomness");
    let with = |[certificate, key]: [&str; 2]| {
        Acceptor::new(certificate.as_bytes(), key.as_bytes(), &tickets).expect("a pair")
    };
    let config = client_config(ALL_VERSIONS, &[]);
    let resumed =
        |acceptor: &Acceptor| talk(acceptor, client(&config, NAME), usize::MAX).map(|talked| talked.resumed);
    assert_eq!(resumed(&with(P256)), Ok(false));
    assert_eq!(resumed(&with(RSA)), Ok(true));
    assert_eq!(resumed(&acceptor(P256).expect("a pair")), Ok(false), "keys of another process");
}

#[test]
fn a_certificate_is_shown_for_its_names_only() {
    let config = client_config(ALL_VERSIONS, &[]);
    let said = |acceptor: &Acceptor, name| talk(acceptor, client(&config, name), usize::MAX);
    let named = acceptor(P256).expect("a pair");
    assert!(said(&named, NAME).is_ok());
    assert!(said(&named, "127.0.0.1").is_ok(), "no name is asked for");
    let refused = said(&named, "other.example.org").expect_err("another name");
    assert!(refused.contains("no server certificate"), "{refused}");
    // Shown for any name: what is wrong with it the client finds out by itself.
    let nameless = acceptor([NAMELESS, P256[1]]).expect("a pair");
    for name in [NAME, "other.example.org"] {
        let refused = said(&nameless, name).expect_err("not trusted");
        assert!(refused.contains("certificate") && !refused.contains("no server certificate"), "{refused}");
    }
}

#[test]
fn no_other_protocol_is_agreed() {
    let acceptor = acceptor(P256).expect("a pair");
    let talked =
        |alpn: &[&str]| talk(&acceptor, client(&client_config(ALL_VERSIONS, alpn), NAME), usize::MAX);
    for spoken in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
        assert!(talked(spoken).is_ok(), "{spoken:?}");
    }
    for other in [&["h2"][..], &["acme-tls/1"]] {
        assert!(talked(other).is_err(), "{other:?}");
    }
}

#[test]
fn without_a_certificate_a_client_gets_an_alert() {
    let empty = Acceptor::without_certificate(&Tickets::new().expect("randomness"));
    assert!(empty.facts().is_none() && !empty.covers(NAME));
    let mut session = empty.accept().expect("a session");
    let mut client = client(&client_config(ALL_VERSIONS, &[]), NAME);
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("a Vec takes all");
    assert!(session.take(&wire).expect("a hello") && session.work().is_err());
    let mut wire = Vec::new();
    session.write_to(&mut wire).expect("a Vec takes all");
    client.read_tls(&mut &wire[..]).expect("read");
    let alert = client.process_new_packets().expect_err("an alert");
    assert!(matches!(alert, rustls::Error::AlertReceived(_)), "{alert}");
}

/// What the server agrees to and whether it shows a challenge, or why it shows nothing.
#[cfg(feature = "acme")]
fn shown(acceptor: &Acceptor, alpn: &[&str], name: &str) -> Result<(Vec<u8>, bool), String> {
    let mut session = acceptor.accept().expect("a session");
    let mut client = client(&client_config(ALL_VERSIONS, alpn), name);
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("a Vec takes all");
    session.take(&wire).and_then(|_| session.work()).map_err(|error| error.to_string())?;
    let agreed = session.tls.alpn_protocol().map(<[u8]>::to_vec).unwrap_or_default();
    Ok((agreed, session.is_challenge()))
}

#[cfg(feature = "acme")]
#[test]
fn an_authority_is_shown_the_challenge_of_a_domain_and_nobody_else_is() {
    use crate::base::crypto::SystemEntropy;
    use crate::base::crypto::p256::P256;
    use crate::proto::acme::certificate::challenge;
    let plain = acceptor(P256).expect("a pair");
    assert!(plain.covers(NAME) && !plain.covers("other.example.org"));
    let key = P256::new(&SystemEntropy::new()).new_signing_key();
    let made = challenge("other.example.org", "t0ken.thumb", &key).expect("a name");
    let [certificate, pkcs8] = [&made[..], key.pkcs8().expose()];
    let with = plain
        .with_challenges(&[ChallengeCertificate { domain: "Other.example.org", certificate, pkcs8 }])
        .expect("a challenge");
    let acme = (b"acme-tls/1".to_vec(), true);
    assert_eq!(shown(&with, &["acme-tls/1"], "other.example.org"), Ok(acme));
    // Not for another name, not for one that is not asked for, and not in the name of http.
    assert!(shown(&with, &["acme-tls/1"], NAME).is_err());
    assert!(shown(&with, &["acme-tls/1"], "127.0.0.1").is_err());
    assert!(shown(&with, &["http/1.1"], "other.example.org").is_err());
    assert_eq!(shown(&with, &["acme-tls/1", "http/1.1"], NAME), Ok((b"http/1.1".to_vec(), false)));
    assert!(talk(&with, client(&client_config(ALL_VERSIONS, &[]), NAME), usize::MAX).is_ok());
    let over = with.with_challenges(&[]).expect("none");
    assert!(shown(&over, &["acme-tls/1"], "other.example.org").is_err());
}

#[test]
fn faults_of_the_files() {
    let cut = &P256[0][..P256[0].len() - 60];
    for (certificate, key, expect) in [
        ("", P256[1], CertificateFault::Certificate),
        (P256[1], P256[1], CertificateFault::Certificate),
        (cut, P256[1], CertificateFault::Certificate),
        (P256[0], "", CertificateFault::Key),
        (P256[0], P256[0], CertificateFault::Key),
        (P256[0], RSA[1], CertificateFault::Mismatch),
        (RSA[0], ED25519[1], CertificateFault::Mismatch),
    ] {
        assert_eq!(acceptor([certificate, key]).err(), Some(expect.clone()), "{expect}");
    }
    let bad = P256[1].replacen("MIG", "MIH", 1);
    assert!(acceptor([P256[0], &bad]).is_err());
    let facts = acceptor(P256).expect("a pair").facts().cloned().expect("facts");
    assert_eq!((facts.not_before, facts.not_after), (UnixS(1_577_836_800), UnixS(4_733_510_400)));
    let nameless = acceptor([NAMELESS, P256[1]]).expect("a pair");
    assert!(facts.has_names && nameless.facts().is_some_and(|facts| !facts.has_names));
}

#[test]
fn what_is_not_tls_is_an_error_and_a_record_ends_once() {
    assert!(begins_tls(22) && !begins_tls(b'G') && !begins_tls(0x80));
    let acceptor = acceptor(P256).expect("a pair");
    let mut session = acceptor.accept().expect("a session");
    let long = [22, 3, 1, 0xff, 0xff];
    assert!(session.take(&long).is_ok_and(|ended| !ended));
    assert!(session.work().is_err() && session.has_output(), "an alert says why");

    let two = [22, 3, 1, 0, 2, 9, 9, 22, 3, 3, 0, 0];
    for size in 1..two.len() {
        let mut records = Records::default();
        let ends = two.chunks(size).filter(|piece| records.end_in(piece)).count();
        // They end at the bytes 6 and 11.
        assert_eq!(ends, if 6 / size == 11 / size { 1 } else { 2 }, "{size}");
        assert!(!records.end_in(&[22, 3, 1, 0]) && !records.end_in(&[1]) && records.end_in(&[9]));
    }
}
