//! The operator's own command that follows a changed trust store: split on blanks, without a shell, in the store's folder,
//! in a process group of its own, which is killed when its time is over.

use crate::renewal::limit::Limit;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// How often it is asked whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Runs `line` in `folder` until it has ended. What it prints goes where our own output goes.
///
/// # Errors
/// How it failed.
pub fn run(line: &str, folder: &Path, limit: Limit) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let program = words.next().ok_or("it is empty")?;
    let mut child = Command::new(program)
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    match wait(&mut child, limit) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{program} ended with {status}")),
        Ok(None) => {
            kill(&mut child);
            Err(format!("{program} did not end within proxy.reload.timeout and was killed"))
        }
        Err(error) => {
            kill(&mut child);
            Err(format!("{program} cannot be waited for: {error}"))
        }
    }
}

/// `None`: its time is over.
fn wait(child: &mut Child, limit: Limit) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if limit.is_over() {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// Ends the command and whatever it has started that stayed in its group.
fn kill(child: &mut Child) {
    // The group is there as long as its leader was not waited for; a leader that has ended meanwhile is no reason to
    // stop here.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;
    use std::fs;
    use std::time::Instant;

    fn limit(ms: u64) -> Limit {
        Limit::new(Instant::now(), Millis(ms))
    }

    #[test]
    fn the_command_runs_in_the_folder_and_its_status_counts() {
        let folder = std::env::temp_dir().join(format!("apim-shell-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(run("  touch   a b ", &folder, limit(60_000)), Ok(()));
        assert!(folder.join("a").exists() && folder.join("b").exists());
        let failed = run("ls no-such-file", &folder, limit(60_000)).unwrap_err();
        assert!(failed.starts_with("ls ended with exit status: "), "{failed}");
        let missing = run("./no-such-program x", &folder, Limit::new(Instant::now(), Millis::NEVER));
        assert!(missing.unwrap_err().starts_with("./no-such-program cannot be run: "));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_hangs_is_killed_with_all_it_started() {
        let folder = std::env::temp_dir().join(format!("apim-hang-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let script = "sleep 1000 & echo $! > child; wait";
        fs::write(folder.join("hang"), script).unwrap();
        let failed = run("sh hang", &folder, limit(2000)).unwrap_err();
        assert_eq!(failed, "sh did not end within proxy.reload.timeout and was killed");
        let child = fs::read_to_string(folder.join("child")).unwrap();
        // Dead soon, or a zombie until whoever adopted it looks.
        let state = format!("/proc/{}/stat", child.trim());
        let lives = || fs::read_to_string(&state).is_ok_and(|state| !state.contains(") Z "));
        let patience = limit(30_000);
        while lives() {
            assert!(!patience.is_over(), "{child} lives");
            thread::sleep(LOOK);
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
