//! New limits for a group that has processes: all of them or none.

use berth_types::oci::Resources;

use super::limits::{self, Setting};
use super::{Cgroup, CgroupError, Version};

impl Cgroup {
    /// Writes limits into the group; those that are absent stay. `-1` is no limit, and
    /// [`limits::WHOLE_SET`] every processor or memory node. If one is refused, those before it are
    /// taken back.
    ///
    /// # Errors
    /// [`CgroupError::is_limit`] tells a limit that cannot be had from everything else.
    pub fn update(&self, resources: &Resources) -> Result<(), CgroupError> {
        let mut settings = match self.version {
            Version::V1 => limits::version_1(resources),
            Version::V2 => limits::version_2(resources),
        }?;
        if resources.pids.limit == Some(-1) {
            settings.push(limits::no_process_limit());
        }
        for setting in settings.iter_mut().filter(|s| s.value == limits::WHOLE_SET) {
            setting.value = self.whole_set(setting)?;
        }
        let before: Vec<Setting> = settings.iter().filter_map(|s| self.present(s)).collect();
        let written = self.write_in_any_order(&settings);
        if written.is_err() {
            // The failure that led here is the one to report.
            let _ = self.write_in_any_order(&before);
        }
        written
    }

    /// Of two limits that bound each other the one has to be written first when they grow, and
    /// the other when they shrink: what is refused is tried once more behind the rest.
    fn write_in_any_order(&self, settings: &[Setting]) -> Result<(), CgroupError> {
        let refused: Vec<&Setting> = settings
            .iter()
            .filter(|setting| self.limit(std::slice::from_ref(*setting)).is_err())
            .collect();
        refused
            .into_iter()
            .try_for_each(|setting| self.limit(std::slice::from_ref(setting)))
    }

    /// What a set is given back with: the parent's own list. On version 2 an empty one would mean
    /// that, but the kernel takes none from a group that has processes and a list (`ENOSPC`).
    fn whole_set(&self, setting: &Setting) -> Result<String, CgroupError> {
        let no_controller = CgroupError::NoController {
            limit: setting.limit,
            controller: setting.controller,
        };
        let member = self.member(setting.controller).ok_or(no_controller)?;
        let file = match self.version {
            Version::V1 => setting.file.to_owned(),
            Version::V2 => format!("{}.effective", setting.file),
        };
        let path = member.path.with_file_name(file);
        match std::fs::read_to_string(&path) {
            Ok(list) => Ok(list.trim().to_owned()),
            Err(source) => Err(CgroupError::Read { path, source }),
        }
    }

    /// What a file holds now, in the form that it is written in.
    fn present(&self, setting: &Setting) -> Option<Setting> {
        let value = self.member(setting.controller)?.read(setting.file).ok()?;
        let value = match value.trim() {
            "" => self.whole_set(setting).ok()?,
            value => value.to_owned(),
        };
        Some(Setting {
            value,
            ..setting.clone()
        })
    }
}
