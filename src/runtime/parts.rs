//! Connects the real components: the server to the loop, the store to its threads, the workers to their pools.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(feature = "cluster")]
use super::replica::Applies;
use super::{Database, Indexes, Interrupt, Machine, Reads, Worker, Writer, kernel};
use crate::base::id::Id;
use crate::base::send_queue::SendQueue;
use crate::base::time::Now;
use crate::model::backup::DatabaseCopy;
use crate::model::job::{Done, Job};
use crate::model::operation::{Answer, Lane, Read, Refusal, Write};
use crate::model::readiness::Readiness;
use crate::server::Server;
use crate::server::contract::{ConnId, Effect, Input};
use crate::store::{Committed, Fault, Index, Reader, Step, Store, WriteHandle};
#[cfg(feature = "acme")]
use crate::work::acme::Renewer;
use crate::work::certificate::CertificateFiles;
use crate::work::files::{Opener, Publisher};
use crate::work::geolocation::Geolocator;
use crate::work::mail::Mailer;
use crate::work::password::PasswordHasher;
use crate::work::push::PushSender;

impl Machine for Server {
    fn handle(&mut self, now: Now, input: Input<'_>) {
        self.handle(now, input);
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.poll_effect()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.wants_read(conn)
    }

    fn is_of_member(&self, conn: ConnId) -> bool {
        self.is_of_member(conn)
    }

    fn send_queue(&mut self, conn: ConnId) -> Option<&mut SendQueue> {
        self.send_queue(conn)
    }

    fn is_accepting(&self) -> bool {
        self.is_accepting()
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        self.is_proxy(peer)
    }

    fn is_drained(&self) -> bool {
        self.is_drained()
    }
}

/// Both the store and its handle between two steps of a backup are writers.
macro_rules! writer {
    ($($writer:ty),*) => {
        $(impl Writer for $writer {
            fn commit(&mut self, batch: &mut Vec<(Lane, Write)>) -> Committed {
                self.commit(batch)
            }

            fn maintain(&mut self) -> Result<(), Fault> {
                let maintained = self.maintain(Instant::now());
                // The free space is needed only while a reader holds the WAL. If the system does not report it, no limit is
                // set.
                if self.is_wal_held()
                    && let Some(free) = kernel::free_bytes(self.folder())
                {
                    self.bound_wal(free);
                }
                maintained
            }

            fn sweep_search(&mut self, done: u64) -> Result<bool, Fault> {
                self.sweep_search(done)
            }

            fn readiness(&self) -> Readiness {
                self.readiness()
            }

            fn is_at_work(&self) -> bool {
                self.is_at_work()
            }

            fn pause(&mut self) -> Duration {
                self.pause()
            }

            fn folder(&self) -> Option<&Path> {
                Some(self.folder())
            }

            #[cfg(feature = "cluster")]
            fn applies(&mut self) -> &mut dyn Applies {
                self
            }
        })*
    };
}

writer!(Store, WriteHandle<'_>);

impl Database for Store {
    fn back_up(
        &mut self,
        id: Id,
        between: &mut dyn FnMut(&mut dyn Writer) -> bool,
    ) -> Result<DatabaseCopy, Refusal> {
        self.back_up(id, &mut |writer| between(writer))
    }

    fn close(self) -> Result<(), Fault> {
        self.close()
    }
}

impl Reads for Reader {
    fn read(&mut self, read: Read) -> Result<Answer, Refusal> {
        self.read(read)
    }

    fn interrupt(&self) -> Interrupt {
        Box::new(self.interrupter())
    }
}

impl Indexes for Index {
    fn step(&mut self, now: Instant) -> Result<Step, Fault> {
        self.step(now)
    }
}

macro_rules! workers {
    ($($worker:ty),*) => {
        $(impl Worker for $worker {
            fn run(&mut self, job: Job) -> Done {
                self.run(job)
            }
        })*
    };
}

workers!(CertificateFiles, Mailer, Geolocator, Publisher, Opener);
#[cfg(feature = "acme")]
workers!(Renewer);

macro_rules! workers_with_memory {
    ($($worker:ty),*) => {
        $(impl Worker for $worker {
            fn run(&mut self, job: Job) -> Done {
                self.run(job)
            }

            fn idle(&mut self) {
                self.idle();
            }
        })*
    };
}

workers_with_memory!(PasswordHasher, PushSender);
