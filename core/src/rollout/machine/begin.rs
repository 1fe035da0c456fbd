//! How a rollout begins, and when it is refused.

use super::state::RolloutState;
use crate::error::{Error, Kind, Result};
use crate::rollout::event::Start;
use crate::rollout::plan::Layout;
use crate::rollout::spec::{RevertSpec, RolloutSpec};
use crate::rollout::strategy::plan;
use crate::rollout::terms::Terms;
use crate::service::{DesiredVersion, Release, ServiceState};

/// The numbered behaviour of this version of the machine.
const BEHAVIOUR: u32 = 1;

/// What a rollout begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// What is asked for.
    pub request: Request,
    /// The service as it is; in the transaction that stores the start it must still be so.
    pub service: ServiceState,
    /// The run that the rollout belongs to.
    pub run: String,
    /// Its step within the run.
    pub step: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Ship a release.
    Ship {
        /// How.
        spec: Box<RolloutSpec>,
        /// What.
        release: Release,
    },
    /// Go back to a version that was stable before.
    Revert {
        /// To which, and how.
        spec: RevertSpec,
    },
}

/// The start, or why there is none; `None` when this very rollout has begun already.
pub(super) fn begin(state: &RolloutState, asked: &Begin) -> Result<Option<Start>> {
    if let Some(start) = &state.start {
        if start.run == asked.run && start.step == asked.step {
            return Ok(None);
        }
        let message = format!("this rollout already ships {} in another run", start.version);
        return Err(Error::new(Kind::Conflict, message).with("run", &start.run).with("step", &start.step));
    }
    let service = &asked.service;
    if let Some(claim) = &service.claim {
        let message = format!("a rollout of {:?} to {} is under way", service.name, claim.version);
        return Err(Error::new(Kind::Conflict, message).with("run", &claim.run).with("step", &claim.step).help(
            "wait for its end, or abort it; if its program does not come back, cancel that run with the engine",
        ));
    }
    let (terms, version, definition) = match &asked.request {
        Request::Ship { spec, release } => ship(service, spec, release)?,
        Request::Revert { spec } => revert(service, spec)?,
    };
    let from =
        Layout { sizes: service.sizes.clone(), weights: service.weights.clone(), stable: service.stable.clone() };
    let mut definitions = service.versions.clone();
    definitions.insert(version.clone(), definition);
    Ok(Some(Start {
        run: asked.run.clone(),
        step: asked.step.clone(),
        plan: plan(&terms, &from, &version),
        version,
        terms,
        from,
        // Once nothing is left of a service, the next release is a first one.
        served: service.serving.clone().filter(|_| !service.sizes.is_empty()),
        kept: service.kept.clone(),
        definitions,
        generation: service.generation,
        epoch: service.epoch,
        behaviour: BEHAVIOUR,
    }))
}

fn ship(service: &ServiceState, spec: &RolloutSpec, release: &Release) -> Result<(Terms, String, DesiredVersion)> {
    let mut faults = Vec::new();
    let terms = spec.check("", &mut faults);
    release.check("/release", &mut faults);
    if !faults.is_empty() {
        return Err(Error::invalid(format_args!("rollout of {:?}", spec.service), faults));
    }
    right_service(service, &spec.service)?;
    let version = release.version.clone();
    if service.stable.as_ref() == Some(&version) {
        return Err(Error::new(
            Kind::Conflict,
            format!("{version} is the stable version of {:?} already", service.name),
        )
        .help("give the new release a version of its own"));
    }
    let definition = terms.definition(release);
    if service.versions.get(&version).is_some_and(|known| known.release != *release) {
        return Err(Error::new(Kind::Conflict, format!("{version} of {:?} was another release before", service.name))
            .help("a version's name stands for one release: give the new one a name of its own"));
    }
    if let Some(serving) = service.serving.as_ref().filter(|_| !service.sizes.is_empty())
        && serving.listen != terms.serving.listen
    {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "{:?} listens on {}, and a rollout can't move it to {}",
                service.name, serving.listen, terms.serving.listen
            ),
        )
        .help("keep the address, or remove the service first and release it anew"));
    }
    Ok((terms, version, definition))
}

fn revert(service: &ServiceState, spec: &RevertSpec) -> Result<(Terms, String, DesiredVersion)> {
    right_service(service, &spec.service)?;
    let known = || if service.kept.is_empty() { "none is kept".to_owned() } else { service.kept.join(", ") };
    let Some(version) = spec.to.as_ref().or(service.kept.first()) else {
        return Err(Error::new(Kind::NotFound, format!("{:?} has no version to revert to", service.name)));
    };
    let is_stable = service.stable.as_ref() == Some(version);
    let left_over = service.sizes.keys().any(|other| other != version) || service.weights.keys().any(|v| v != version);
    if is_stable && !left_over {
        return Err(Error::new(
            Kind::Conflict,
            format!("{version} is the stable version of {:?} already", service.name),
        ));
    }
    let definition = service.versions.get(version).filter(|_| is_stable || service.kept.contains(version));
    let (Some(definition), Some(serving)) = (definition, &service.serving) else {
        return Err(Error::new(Kind::NotFound, format!("{version} of {:?} is not kept", service.name))
            .help(format!("versions that can be reverted to: {}", known())));
    };
    let mut faults = Vec::new();
    let keep_versions = u32::try_from(service.kept.len()).unwrap_or(u32::MAX).max(2);
    let terms = spec.check("", definition, serving, keep_versions, &mut faults);
    if !faults.is_empty() {
        return Err(Error::invalid(format_args!("revert of {:?}", spec.service), faults));
    }
    Ok((terms, version.clone(), definition.clone()))
}

fn right_service(service: &ServiceState, name: &str) -> Result<()> {
    if service.name == name {
        return Ok(());
    }
    Err(Error::new(Kind::Internal, format!("the spec speaks of {name:?}, the state is of {:?}", service.name)))
}
