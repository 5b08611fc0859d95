//! Connections: by the ways that each language has, and by curl.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::{FAMILIES, Family, HTTP, Seen, Zoo, programs, same};

pub(crate) fn every_clients_connections_are_as_direct_ones() -> Result<()> {
    let mut zoo = Zoo::open()?;
    let curl = programs::find("curl")?.display().to_string();
    let of = |client: &str, family: Family, words: &dyn Fn(IpAddr) -> Vec<String>| {
        let seen = same(client, |way| {
            let at = zoo.server(0, way, family);
            zoo.ask(at, &words(at))
        })?;
        ensure!(
            seen.code == Some(0) && seen.output.contains("ADDRESS") && seen.heard.len() >= 2,
            "{client} over {family:?} was not served: {seen:#?}"
        );
        Ok(())
    };
    for family in FAMILIES {
        for client in &zoo.programs.all_round {
            of(client.name, family, &|at| {
                client.with(&["tcp", &at.to_string(), &HTTP.to_string()])
            })?;
        }
        of("curl", family, &|at| curl_words(&curl, at))?;
    }
    zoo.check()
}

/// A Service without endpoints refuses a connect that does not wait at once, where one to a closed port would be in
/// progress first. Java's `HttpClient` has other words for the two, and the same exception.
pub(crate) fn every_client_is_refused_as_by_a_closed_port() -> Result<()> {
    let mut zoo = Zoo::open()?;
    let curl = programs::find("curl")?.display().to_string();
    let of = |client: &str, family: Family, words: &dyn Fn(IpAddr) -> Vec<String>| {
        let seen = same(client, |way| {
            let at = zoo.nobody(way, family);
            zoo.ask(at, &words(at))
        })?;
        let Seen {
            code,
            output: _,
            heard,
        } = &seen;
        ensure!(
            code.is_some_and(|code| code != 0) && heard.is_empty(),
            "{client} over {family:?} was not refused: {seen:#?}"
        );
        Ok(())
    };
    for family in FAMILIES {
        for client in &zoo.programs.all_round {
            of(client.name, family, &|at| {
                client.with(&["tcp", &at.to_string(), &HTTP.to_string()])
            })?;
        }
        of("curl", family, &|at| curl_words(&curl, at))?;
    }
    zoo.check()
}

/// Two requests over one connection, and what curl says of it.
fn curl_words(curl: &str, at: IpAddr) -> Vec<String> {
    let host = match at {
        IpAddr::V4(at) => at.to_string(),
        IpAddr::V6(at) => format!("[{at}]"),
    };
    let told = "%{remote_ip} %{remote_port} %{http_code} %{num_connects}\\n";
    let words = [
        curl,
        "--disable",
        "--silent",
        "--globoff",
        "--noproxy",
        "*",
        "--max-time",
        "30",
        "--write-out",
        told,
        "--data",
        "said",
    ];
    let urls = ["first", "second"].map(|path| format!("http://{host}:{HTTP}/{path}"));
    words.into_iter().map(str::to_owned).chain(urls).collect()
}
