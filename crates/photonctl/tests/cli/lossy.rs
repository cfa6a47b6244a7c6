//! What loses answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Something between a client and a service that loses the answer to the first request, after the service gave it.
pub(crate) struct Lossy {
    pub(crate) address: String,
    lost: Arc<AtomicUsize>,
}

impl Lossy {
    pub(crate) async fn before(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let behind = service.trim_start_matches("http://").to_owned();
        let lost = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&lost);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = tokio::net::TcpStream::connect(&behind).await.unwrap();
                if count.load(Ordering::SeqCst) > 0 {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    continue;
                }
                let mut buffer = vec![0; 16 << 10];
                let mut asked = Vec::new();
                // Head and body, which a client may send apart.
                while !String::from_utf8_lossy(&asked).ends_with('}') {
                    let read = client.read(&mut buffer).await.unwrap();
                    asked.extend_from_slice(&buffer[..read]);
                }
                server.write_all(&asked).await.unwrap();
                let read = server.read(&mut buffer).await.unwrap();
                assert!(buffer[..read].starts_with(b"HTTP/1.1 20"));
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, lost }
    }

    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}
