//! Ethernet frames by hand, past the kernel's stack.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};

/// A packet socket on a device of the calling thread's namespace. Needs `CAP_NET_RAW`.
pub struct Link {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    /// The device's own address.
    pub address: [u8; 6],
}

impl Link {
    /// Opens the device; [`Link::next`] will wait at most `limit`.
    pub fn open(device: &str, limit: Duration) -> Result<Self> {
        let interfaces = pnet_datalink::interfaces();
        let interface = interfaces.iter().find(|interface| interface.name == device);
        let interface = interface.with_context(|| format!("there is no device {device}"))?;
        let config = Config {
            read_timeout: Some(limit),
            promiscuous: false,
            ..Config::default()
        };
        let channel = pnet_datalink::channel(interface, config)
            .with_context(|| format!("cannot open a packet socket on {device}"))?;
        let Channel::Ethernet(sender, receiver) = channel else {
            bail!("{device} is not an Ethernet device");
        };
        let address = interface
            .mac
            .with_context(|| format!("{device} has no address"))?
            .octets();
        Ok(Self {
            sender,
            receiver,
            address,
        })
    }

    /// The next frame that the device's kernel side did not send itself; `None` when the time is
    /// over.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.receiver.next() {
                Ok(frame) if frame.get(6..12) == Some(&self.address) => {}
                Ok(frame) => return Ok(Some(frame.to_vec())),
                Err(e) if e.kind() == std::io::ErrorKind::TimedOut => return Ok(None),
                Err(e) => return Err(e).context("cannot read from a packet socket"),
            }
        }
    }

    /// Sends a whole frame.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        match self.sender.send_to(frame, None) {
            Some(sent) => sent.with_context(|| format!("cannot send {} bytes", frame.len())),
            None => bail!("the packet socket has no room"),
        }
    }
}
