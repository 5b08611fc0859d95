//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use sluice_runtime::{client::Way, telemetry::Logs};

/// Tells the API server whether a policy can stand, before it is stored.
///
/// It is comfort, not the border: operator and agents check again what was stored without it.
#[derive(Debug, Parser)]
#[command(
    name = "sluice-webhook",
    version,
    after_help = "Example: sluice-webhook --cert-dir /etc/sluice/tls\n\
                  The directory holds tls.crt and tls.key; when they change they are taken at once."
)]
pub struct Args {
    #[command(flatten)]
    pub way: Way,

    /// The directory with tls.crt and tls.key, as a Secret is mounted.
    #[arg(long, env = "SLUICE_CERT_DIR", value_name = "DIR")]
    pub cert_dir: PathBuf,

    /// Authorities of callers, as PEM: who has no certificate of theirs is not answered. The API server needs one
    /// then, in its admission configuration.
    #[arg(long, env = "SLUICE_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// A common name that a caller's certificate may have. Any when left out; can be given more than once.
    #[arg(
        long,
        env = "SLUICE_CLIENT_NAME",
        value_name = "NAME",
        value_delimiter = ',',
        requires = "client_ca"
    )]
    pub client_name: Vec<String>,

    /// Where the API server's questions are answered, over TLS.
    #[arg(
        long,
        env = "SLUICE_LISTEN",
        value_name = "ADDR",
        default_value = "[::]:9443"
    )]
    pub listen: SocketAddr,

    /// Where health and metrics are served.
    #[arg(
        long,
        env = "SLUICE_ADMIN",
        value_name = "ADDR",
        default_value = "[::]:9877"
    )]
    pub admin: SocketAddr,

    /// How long questions are still taken after the request to end: as long as the cluster needs to
    /// send them elsewhere.
    #[arg(long, env = "SLUICE_LINGER", value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub linger: Duration,

    #[command(flatten)]
    pub logs: Logs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of seconds, such as 5 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_certificates_have_to_be_named() {
        assert!(Args::try_parse_from(["webhook"]).is_err());
        let args = Args::try_parse_from(["webhook", "--cert-dir", "d", "--linger", "0"]);
        assert!(args.is_ok_and(|args| args.linger.is_zero()));
        assert!(Args::try_parse_from(["webhook", "--cert-dir", "d", "--linger", "-1"]).is_err());
    }
}
