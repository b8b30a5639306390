//! Reaching the engine, and Docker's words for what it answers.
//!
//! The client settles the API version with a ping before the first request. That costs a second
//! round trip on a local socket, some 0.3 ms of the 2 ms that a short command takes as a whole;
//! guessing the newest version and falling back would save it only where the guess is right, and
//! would send a create twice where it is wrong.

use berth_api::berth::LANE_SUFFIX;
use berth_api::client::endpoint::{self, Endpoint, Wish};
use berth_api::client::{Client, ClientError};
use clap::Args;

use crate::exit::{Exit, NOT_RUN, code_of_refusal};

/// The options in front of the command.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalFlags {
    /// Location of client config files
    #[arg(long, value_name = "string")]
    pub config: Option<String>,
    /// Name of the context to use to connect to the daemon (overrides BERTH_HOST and
    /// DOCKER_HOST)
    #[arg(long, short = 'c', value_name = "string")]
    pub context: Option<String>,
    /// Enable debug mode
    #[arg(long, short = 'D')]
    pub debug: bool,
    /// Daemon socket to connect to
    #[arg(long, short = 'H', value_name = "list")]
    pub host: Vec<String>,
    /// Set the logging level ("debug", "info", "warn", "error", "fatal") (default "info")
    #[arg(long, short = 'l', value_name = "string")]
    pub log_level: Option<String>,
    /// Use TLS; implied by --tlsverify
    #[arg(long)]
    pub tls: bool,
    /// Trust certs signed only by this CA
    #[arg(long, value_name = "string")]
    pub tlscacert: Option<String>,
    /// Path to TLS certificate file
    #[arg(long, value_name = "string")]
    pub tlscert: Option<String>,
    /// Path to TLS key file
    #[arg(long, value_name = "string")]
    pub tlskey: Option<String>,
    /// Use TLS and verify the remote
    #[arg(long)]
    pub tlsverify: bool,
    /// Print version information and quit
    #[arg(long, short = 'v')]
    pub version: bool,
    /// The command and what belongs to it.
    #[arg(trailing_var_arg = true)]
    pub arguments: Vec<String>,
}

/// What a command knows of the world: which engine the user means.
#[derive(Debug)]
pub struct Context {
    wish: Wish,
    config: Option<String>,
    named: Option<String>,
}

impl Context {
    /// The context that the options in front of the command mean.
    pub fn new(flags: &GlobalFlags) -> Result<Self, Exit> {
        if flags.host.len() > 1 {
            return Err(Exit::failed("Specify only one -H"));
        }
        let tls = [&flags.tlscacert, &flags.tlscert, &flags.tlskey];
        if flags.tls || flags.tlsverify || tls.iter().any(|f| f.is_some()) {
            return Err(Exit::failed(
                "berth: TLS is not built yet: use a Unix socket, or ssh -L",
            ));
        }
        Ok(Self {
            wish: Wish {
                context: flags.context.clone(),
                host: flags.host.first().cloned(),
            },
            config: flags.config.clone(),
            named: flags.context.clone(),
        })
    }

    /// Where the engine is.
    pub fn endpoint(&self) -> Result<Endpoint, Exit> {
        let variable = |name: &str| match (&self.config, name) {
            (Some(directory), "DOCKER_CONFIG") => Some(directory.clone()),
            _ => std::env::var(name).ok(),
        };
        endpoint::discover(&self.wish, variable).map_err(|e| refused(&e))
    }

    /// A client of the engine.
    pub async fn client(&self) -> Result<Client, Exit> {
        self.connect().await.map_err(|e| refused(&e))
    }

    /// As [`Context::client`], with the error as it is.
    pub async fn connect(&self) -> Result<Client, ClientError> {
        let variable = |name: &str| match (&self.config, name) {
            (Some(directory), "DOCKER_CONFIG") => Some(directory.clone()),
            _ => std::env::var(name).ok(),
        };
        let endpoint = endpoint::discover(&self.wish, variable)?;
        Client::connect(&endpoint.host).await
    }

    /// A client of the lane beside the engine's socket, which answers when the engine does not;
    /// none where there is none for this user.
    pub async fn lane(&self) -> Result<Option<Client>, Exit> {
        let host = self.endpoint()?.host;
        if !host.starts_with("unix://") {
            return Ok(None);
        }
        Ok(Client::connect(&format!("{host}{LANE_SUFFIX}")).await.ok())
    }

    /// The name to show for the context in use.
    pub fn name(&self) -> String {
        match self.endpoint().map(|e| e.origin) {
            Ok(endpoint::Origin::Context(name)) => name,
            _ => self.named.clone().unwrap_or_else(|| "default".to_owned()),
        }
    }
}

/// What to tell the user about a failed request.
pub fn sentence(error: &ClientError) -> String {
    match error {
        ClientError::Response { message, .. } => format!("Error response from daemon: {message}"),
        ClientError::Connect { .. } | ClientError::Permission { .. } => error.to_string(),
        _ => berth_types::chain(error),
    }
}

/// The end of a command that the engine refused.
pub fn refused(error: &ClientError) -> Exit {
    Exit::failed(sentence(error))
}

/// The end of `run` or `create` (`verb`) where the container never came to run.
pub fn not_run(verb: &str, sentence: &str) -> Exit {
    Exit {
        code: NOT_RUN,
        message: format!("berth: {sentence}\n\nRun 'berth {verb} --help' for more information"),
    }
}

/// As [`not_run`], with the exit status that the engine's sentence stands for.
pub fn not_started(verb: &str, error: &ClientError) -> Exit {
    Exit {
        code: code_of_refusal(&error.to_string()),
        ..not_run(verb, &sentence(error))
    }
}
