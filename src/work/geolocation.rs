//! The geolocation of an address: from a local database, else from a service over HTTP.
//!
//! The only module that uses maxminddb. Owns a cache of recent answers. Whether an address may be looked up at all is
//! decided earlier.
//! Invariant: an address leaves the host only if a token for the service is configured and no database is.

use std::collections::BTreeMap;
use std::net::IpAddr;
#[cfg(feature = "geoip")]
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::exchange::exchange;
#[cfg(feature = "geoip")]
use super::file_version::FileVersion;
use super::wire::{Trust, WireFault};
use crate::base::json::{self, Value};
use crate::base::network::is_public;
use crate::model::job::{Done, Job};
use crate::proto::http::client::{Endpoint, ResponseReader};

/// Time limit of one look-up of a place, connection included: no answer of the protocol waits longer for a place. After it,
/// the place is unknown.
const PLACE_DEADLINE: Duration = Duration::from_secs(2);
/// Addresses whose places are cached, about 200 bytes each. Above it, the one that expires first is dropped.
const PLACES_KEPT_MAX: usize = 4_096;
/// How long a place is cached.
const PLACE_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How long a failure is cached, so that a dead service costs one wait in this time.
const PLACE_FAILURE_KEPT: Duration = Duration::from_secs(60);
/// Characters of a place. A longer one is cut.
const PLACE_CHARS_MAX: usize = 128;

/// Where geolocations come from.
#[derive(Clone)]
pub enum PlaceSource {
    /// GEOIP_DB.
    #[cfg(feature = "geoip")]
    Database(Arc<Database>),
    /// IP_INFO and IP_INFO_URL.
    Service { endpoint: Endpoint, token: String, trust: Trust },
}

impl PlaceSource {
    /// Reads GEOIP_DB. The error is a phrase that follows that name.
    #[cfg(feature = "geoip")]
    pub fn database(path: &Path) -> Result<PlaceSource, String> {
        let file = version(path);
        let reader = read_database(path)?;
        let content = Content { file, reader: Arc::new(reader) };
        Ok(PlaceSource::Database(Arc::new(Database { path: path.to_owned(), content: Mutex::new(content) })))
    }
}

/// GEOIP_DB in memory. A process that replaces the file (`geoipupdate` renames a new one onto it) need not restart the
/// server: a look-up first reads a file that has changed. If the new file can't be read, the old content stays in use.
#[cfg(feature = "geoip")]
pub struct Database {
    path: PathBuf,
    content: Mutex<Content>,
}

#[cfg(feature = "geoip")]
struct Content {
    /// The file that was read last, or could not be read.
    file: Option<FileVersion>,
    reader: Arc<maxminddb::Reader<Vec<u8>>>,
}

#[cfg(feature = "geoip")]
fn version(path: &Path) -> Option<FileVersion> {
    path.metadata().ok().map(|file| FileVersion::of(&file))
}

#[cfg(feature = "geoip")]
impl Database {
    /// Reads the file if it has changed, and returns whether it did. The other threads wait: they would answer from the
    /// old content.
    fn renew(&self) -> bool {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let file = version(&self.path);
        // A file that is missing for a moment is not new content.
        if file.is_none() || file == content.file {
            return false;
        }
        content.file = file;
        match read_database(&self.path) {
            Ok(reader) => {
                content.reader = Arc::new(reader);
                log::info!(target: "natter::geolocation", "GEOIP_DB: the new file is in use");
                true
            }
            Err(problem) => {
                log::warn!(target: "natter::geolocation", "GEOIP_DB: the new file {problem}; the old one is in use");
                false
            }
        }
    }

    fn reader(&self) -> Arc<maxminddb::Reader<Vec<u8>>> {
        Arc::clone(&self.content.lock().unwrap_or_else(PoisonError::into_inner).reader)
    }
}

#[cfg(feature = "geoip")]
fn read_database(path: &Path) -> Result<maxminddb::Reader<Vec<u8>>, String> {
    maxminddb::Reader::open_readfile(path).map_err(|error| format!("can't be used: {error}"))
}

/// The geolocator of one worker thread; all of them share the cache.
pub struct Geolocator {
    source: PlaceSource,
    known: Arc<Mutex<Known>>,
}

impl Geolocator {
    pub fn new(source: PlaceSource, known: Arc<Mutex<Known>>) -> Geolocator {
        Geolocator { source, known }
    }

    /// Does the job in this thread, in at most [`PLACE_DEADLINE`] and the time of the resolver.
    pub fn run(&mut self, job: Job) -> Done {
        let Job::FindPlace { address } = job else {
            log::error!(target: "natter::geolocation", "{} is not a geolocation job", job.name());
            return Done::Failed;
        };
        let address = address.to_canonical();
        if !is_public(address) {
            return Done::Place(None);
        }
        self.forget_outdated();
        if let Some(found) = self.recall(address) {
            return Done::Place(found);
        }
        let looked_up = self.look_up(address);
        let (place, kept) = match &looked_up {
            Ok(place) => (place.clone(), PLACE_KEPT),
            Err(_) => (None, PLACE_FAILURE_KEPT),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.learn(address, place.clone(), Instant::now(), kept);
        drop(known);
        match looked_up {
            Ok(place) => Done::Place(place),
            Err(fault) => {
                let reason = fault.reason();
                // The address belongs to a member, so it is not logged.
                log::warn!(target: "natter::geolocation", "a geolocation could not be looked up: {reason}");
                Done::Failed
            }
        }
    }

    /// Drops answers of a database that was replaced.
    fn forget_outdated(&self) {
        #[cfg(feature = "geoip")]
        if let PlaceSource::Database(database) = &self.source
            && database.renew()
        {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
        }
    }

    fn recall(&self, address: IpAddr) -> Option<Option<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).recall(address, Instant::now())
    }

    fn look_up(&self, address: IpAddr) -> Result<Option<String>, WireFault> {
        match &self.source {
            #[cfg(feature = "geoip")]
            PlaceSource::Database(database) => look_in(&database.reader(), address),
            PlaceSource::Service { endpoint, token, trust } => ask(endpoint, token, trust, address),
        }
    }
}

/// Databases have one of two layouts: names by language (MaxMind, DB-IP), or plain texts (IPinfo).
#[cfg(feature = "geoip")]
fn look_in(reader: &maxminddb::Reader<Vec<u8>>, address: IpAddr) -> Result<Option<String>, WireFault> {
    use maxminddb::PathElement::{Index, Key};
    let fault = |error: maxminddb::MaxMindDbError| WireFault::Failed(error.to_string());
    let found = reader.lookup(address).map_err(fault)?;
    // A field of another type counts as absent.
    let text = |path: &[maxminddb::PathElement<'_>]| found.decode_path::<String>(path).ok().flatten();
    let city = text(&[Key("city"), Key("names"), Key("en")]).or_else(|| text(&[Key("city")]));
    let region = text(&[Key("subdivisions"), Index(0), Key("names"), Key("en")])
        .or_else(|| text(&[Key("region")]))
        .or_else(|| text(&[Key("stateprov")]));
    let country = text(&[Key("country"), Key("names"), Key("en")])
        .or_else(|| text(&[Key("country_name")]))
        .or_else(|| text(&[Key("country")]))
        .or_else(|| text(&[Key("country"), Key("iso_code")]));
    Ok(join([city, region, country]))
}

fn ask(
    endpoint: &Endpoint,
    token: &str,
    trust: &Trust,
    address: IpAddr,
) -> Result<Option<String>, WireFault> {
    let fault = |what: &str| WireFault::failed(what);
    let request = endpoint
        .get(&address.to_string(), Some(token))
        .map_err(|_| fault("IP_INFO has characters that a request can't carry"))?;
    let response = exchange(endpoint, &request, ResponseReader::new(), trust, PLACE_DEADLINE)?;
    if response.status != 200 {
        return Err(WireFault::Failed(format!("the service responded with status {}", response.status)));
    }
    let answer = json::parse(&response.body).map_err(|_| fault("the service's response is not JSON"))?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(join([text("city"), text("region"), text("country")]))
}

/// "City, Region, Country": the known parts in one line, each once.
fn join(parts: [Option<String>; 3]) -> Option<String> {
    let mut words: Vec<String> = Vec::with_capacity(3);
    for part in parts.into_iter().flatten() {
        let word: String = part.chars().filter(|c| !c.is_control()).collect();
        let word = word.trim();
        if !word.is_empty() && words.last().is_none_or(|last| last != word) {
            words.push(word.to_owned());
        }
    }
    let place: String = words.join(", ").chars().take(PLACE_CHARS_MAX).collect();
    (!place.is_empty()).then_some(place)
}

/// The cache of recent answers, failures included.
#[derive(Debug, Default)]
pub struct Known {
    by_address: BTreeMap<IpAddr, (Option<String>, Instant)>,
    /// The same entries, the first to expire first.
    by_end: BTreeMap<(Instant, IpAddr), ()>,
}

impl Known {
    fn recall(&self, address: IpAddr, now: Instant) -> Option<Option<String>> {
        let (place, until) = self.by_address.get(&address)?;
        (*until > now).then(|| place.clone())
    }

    fn learn(&mut self, address: IpAddr, place: Option<String>, now: Instant, kept: Duration) {
        if let Some((_, until)) = self.by_address.remove(&address) {
            self.by_end.remove(&(until, address));
        }
        while self.by_address.len() >= PLACES_KEPT_MAX {
            let Some(((_, oldest), ())) = self.by_end.pop_first() else { break };
            self.by_address.remove(&oldest);
        }
        let until = now + kept;
        self.by_address.insert(address, (place, until));
        self.by_end.insert((until, address), ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    #[test]
    fn a_geolocation_is_one_line_of_the_known_parts() {
        let check = |parts: [Option<&str>; 3], expect: Option<&str>| {
            assert_eq!(join(parts.map(|part| part.map(str::to_owned))).as_deref(), expect, "{parts:?}");
        };
        check([Some("Cairo"), Some("Cairo"), Some("EG")], Some("Cairo, EG"));
        check([None, Some(" Bavaria "), Some("Germany")], Some("Bavaria, Germany"));
        check([Some("a\r\nBcc: x"), None, None], Some("aBcc: x"));
        check([Some(""), Some(" "), None], None);
        check([None, None, None], None);
        let long = "é".repeat(200);
        check([Some(&long), None, None], Some(&"é".repeat(PLACE_CHARS_MAX)));
    }

    #[test]
    fn the_cache_expires_and_never_exceeds_its_bound() {
        let (mut known, start) = (Known::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        known.learn(ip(1), Some("here".to_owned()), start, Duration::from_secs(10));
        known.learn(ip(2), None, start, Duration::from_secs(5));
        assert_eq!(known.recall(ip(1), after(9)), Some(Some("here".to_owned())));
        assert_eq!((known.recall(ip(1), after(10)), known.recall(ip(2), after(5))), (None, None));
        assert_eq!((known.recall(ip(2), after(4)), known.recall(ip(3), start)), (Some(None), None));
        known.learn(ip(2), Some("there".to_owned()), after(6), Duration::from_secs(5));
        assert_eq!(known.recall(ip(2), after(10)), Some(Some("there".to_owned())));
        for n in 0..PLACES_KEPT_MAX as u32 {
            known.learn(ip(1_000 + n), None, after(20), Duration::from_secs(u64::from(n)));
        }
        assert_eq!((known.by_address.len(), known.by_end.len()), (PLACES_KEPT_MAX, PLACES_KEPT_MAX));
        assert_eq!(known.recall(ip(2), after(7)), None, "the first to expire went first");
    }
}
