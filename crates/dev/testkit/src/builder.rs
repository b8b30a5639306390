//! How an engine of a test is configured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Output;
use crate::engine::Engine;
use crate::faults::Faults;

/// A test that takes longer hangs. Generous: a virtual machine without KVM is slow.
const TEST_LIMIT: Duration = Duration::from_secs(900);

/// Arguments, environment and configuration of an engine to be started.
#[derive(Debug, Clone)]
pub struct EngineBuilder {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) configuration: String,
    pub(crate) data_root: Option<PathBuf>,
    pub(crate) network: bool,
    pub(crate) limit: Duration,
    pub(crate) faults: Option<Faults>,
}

impl Default for EngineBuilder {
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            environment: Vec::new(),
            configuration: "{}".to_owned(),
            data_root: None,
            network: false,
            limit: TEST_LIMIT,
            faults: None,
        }
    }
}

impl EngineBuilder {
    /// An engine with an empty configuration file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds arguments for `berthd`, after those the harness gives (its own roots and socket).
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sets a variable of the engine's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.environment.push((
            name.to_owned(),
            value.as_ref().to_string_lossy().into_owned(),
        ));
        self
    }

    /// The text of the configuration file.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.configuration);
        self
    }

    /// Uses a data root that is somebody else's, instead of one of its own.
    #[must_use]
    pub fn data_root(mut self, path: &Path) -> Self {
        self.data_root = Some(path.to_owned());
        self
    }

    /// Gives the engine its default network, and an uplink with another machine behind it; see
    /// [`Engine::on_machine`]. Without this it runs with `--bridge none`.
    #[must_use]
    pub fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// How long the test may take before the watchdog ends it.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Calls of the engine fail when these are told to.
    #[must_use]
    pub fn faults(mut self, faults: &Faults) -> Self {
        self.faults = Some(faults.clone());
        self
    }

    /// Starts the engine and waits until it answers.
    ///
    /// # Panics
    /// When it does not, with its log.
    pub fn start(self) -> Engine {
        let mut engine = Engine::prepare(self);
        engine.start_again();
        engine
    }

    /// Starts an engine that is expected to refuse, and waits for its end. Its log is the
    /// standard error of the result.
    ///
    /// # Panics
    /// When it runs on.
    pub fn refused(self) -> Output {
        Engine::prepare(self).run_to_the_end()
    }
}
