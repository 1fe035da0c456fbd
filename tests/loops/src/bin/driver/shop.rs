//! What ships a version: it is built (a program that carries its version), tested by many short runs of that very
//! program and many short looks into it, and rolled out in many small steps. Commits, spawns and changes of weight are most
//! of what happens here, so that an instant drawn evenly often falls into one.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tidegate::pipeline::{Cause, StepError};
use tidegate::{Error, Kind, Pipeline, Release, Result, Rollout, StepRef};

use crate::pipeline::Log;

/// How many times the program is tried: in so many lanes, so often one after the other.
const LANES: usize = 2;
const CHECKS: usize = 50;
/// How often it is looked into, one after the other. It takes hardly any time, so that all of this is commits.
const LOOKS: usize = 350;
/// Percent of the traffic, one change of weights each.
const STEPS: [f64; 8] = [5.0, 10.0, 20.0, 30.0, 50.0, 60.0, 75.0, 90.0];
const BAKE: &str = "30ms";

/// Adds the steps. `command` makes of a step's name, a pause and a script one that tells what it does.
pub(crate) fn ship<T>(
    p: &mut Pipeline,
    folder: &Path,
    key: &str,
    address: &str,
    command: &dyn Fn(&str, &str, &str) -> String,
    log: &Log,
    after: &StepRef<T>,
) -> Result<()> {
    let service = std::env::current_exe()
        .map_err(|error| Error::new(Kind::Io, "can't tell which program this is").because(error))?
        .with_file_name("service");
    let built = folder.join("builds").join(key);
    let program = built.join("shop");
    let (service, built, program) = (service.display(), built.display(), program.display());
    let script = format!(
        "mkdir -p '{built}' && cat '{service}' >'{program}.part' && printf 'VERSION={key}\\n' >>'{program}.part' && \
         chmod +x '{program}.part' && mv '{program}.part' '{program}' && "
    );
    let pack = p.shell("pack", command("pack", "0", &script));
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let mut last = pack.clone();
        for check in 0..CHECKS {
            let name = format!("check-{lane}-{check}");
            let script = format!("[ \"$('{program}' --version)\" = '{key}' ] || exit 1; ");
            last = p.shell(&name, command(&name, "0", &script)).after(&last);
        }
        lanes.push(last);
    }
    let mut last = pack.name().to_owned();
    for look in 0..LOOKS {
        let (log, program, key) = (log.clone(), PathBuf::from(program.to_string()), key.to_owned());
        let look = p.blocking(&format!("look-{look}"), (), move |context, ()| {
            log.line(&context, "start")?;
            let wanted = format!("VERSION={key}\n");
            let found = ends_with(&program, wanted.as_bytes())
                .map_err(|error| StepError::new(Cause::Exception, error.to_string()))?;
            if !found {
                return Err(StepError::new(Cause::Exception, "the program was built as another version"));
            }
            log.line(&context, "end")
        });
        last = look.after_named(last).name().to_owned();
    }
    let release = Release {
        version: key.to_owned(),
        command: vec![program.to_string()],
        // The folder, so that its processes are told from those of others.
        env: [("LOOP".to_owned(), folder.display().to_string())].into(),
        dir: Some(folder.display().to_string()),
    };
    let rollout = Rollout::canary("shop", STEPS, BAKE)
        .listen(address)
        .replicas(2)
        .drain("5s")
        .grace("5s")
        .keep_old("0s")
        .progress_deadline("60s");
    let ship = p.rollout_of("ship", rollout, release).after(after);
    let ship = ship.after_named(last);
    let _ = lanes.iter().fold(ship, |ship, lane| ship.after(lane));
    Ok(())
}

fn ends_with(program: &Path, wanted: &[u8]) -> io::Result<bool> {
    let mut file = std::fs::File::open(program)?;
    file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(wanted.len() as u64)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(end == wanted)
}
