//! An nginx for one run, with its own configuration, folder and ports, all removed afterwards.
//!
//! It stores bodies as files (`client_body_in_file_only`) and sends files with `sendfile`. Owns the process. Does not touch
//! an nginx that already runs on this machine.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::support::net::PATIENCE;

pub struct Nginx {
    child: Child,
    pub address: SocketAddr,
    /// The files it serves under `/files/`.
    pub files: PathBuf,
    /// The folder of the bodies of `PUT /uploads`.
    pub bodies: PathBuf,
}

impl Nginx {
    pub fn start(folder: &Path) -> Nginx {
        let binary = std::env::var_os("NGINX_BIN").unwrap_or_else(|| "nginx".into());
        let (files, bodies) = (folder.join("files"), folder.join("bodies"));
        for folder in [&files, &bodies] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let [port, behind] = free_ports();
        // As root its workers would switch to a user that can't write here.
        let user = if fs::metadata(folder).is_ok_and(|it| it.uid() == 0) { "user root;" } else { "" };
        let configuration = format!(
            "{user} daemon off; worker_processes auto; pid nginx.pid; error_log stderr crit;
             events {{ worker_connections 512; }}
             http {{
                 access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
                 proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
                 client_body_temp_path {bodies}; client_body_in_file_only on; client_body_buffer_size 64k;
                 client_max_body_size 64m;
                 server {{
                     listen 127.0.0.1:{port};
                     location /files/ {{ alias {files}/; }}
                     location /uploads {{
                         proxy_pass http://127.0.0.1:{behind}; proxy_pass_request_body off;
                         proxy_set_header Content-Length \"\";
                     }}
                 }}
                 server {{ listen 127.0.0.1:{behind}; location / {{ return 201 stored; }} }}
             }}",
            bodies = bodies.display(),
            files = files.display(),
        );
        let path = folder.join("nginx.conf");
        fs::write(&path, configuration).expect("a configuration");
        let mut command = Command::new(binary);
        command.arg("-p").arg(folder).arg("-c").arg(path).arg("-e").arg("stderr");
        let child = command.stdin(Stdio::null()).spawn().expect("nginx starts");
        let mut nginx = Nginx { child, address: SocketAddr::from(([127, 0, 0, 1], port)), files, bodies };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(nginx.address).is_err() {
            let ended = nginx.child.try_wait().expect("a child");
            assert!(ended.is_none() && Instant::now() < until, "nginx does not listen: {ended:?}");
            std::thread::yield_now();
        }
        nginx
    }

    /// Removes the bodies it stored, so that they are not written to the disk during another measurement.
    pub fn remove_bodies(&self) {
        for entry in fs::read_dir(&self.bodies).expect("a folder") {
            let path = entry.expect("an entry").path();
            fs::remove_file(path).expect("removed");
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Not SIGKILL, which would leave its workers running. A process that has already ended is fine.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn free_ports() -> [u16; 2] {
    let bound = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    bound.map(|listener| listener.local_addr().expect("an address").port())
}
