//! Pure: who leads. Either the configuration says so for good, or a controller appoints, term by term: then a gateway takes
//! the office and leaves it while it runs. That the controller is gone ends no term; only a higher one does.

use causeway_proto::model::{
    Allocations, Appointment, ClusterSettings, GatewayName, LeadHello, LeadRefused, LeaderState,
    Problem, ProblemKind,
};

use super::{Gateway, Keep, Settings, leader, unix_secs};
use crate::allot::{self, GREATEST_EPOCH, Ledger};
use crate::now::Now;

/// Who leads, and by whose word.
#[derive(Debug, Clone)]
pub(super) struct Office {
    /// The controller's last word that was obeyed, without state.
    word: Option<Appointment>,
    /// This gateway does.
    leads: bool,
    /// It has cut nothing yet: then the epoch still rises above whatever others hold.
    fresh: bool,
    /// Settings of the last word that contradict each other; those before stay.
    problem: Option<Problem>,
}

impl Office {
    /// By the configuration, else by the last word on the disk. The settings are those in force.
    pub fn new(
        mut settings: Settings,
        word: Option<Appointment>,
        authority: bool,
    ) -> (Self, Settings) {
        let me = &settings.gateway;
        let word = word.filter(|_| settings.leader.is_none());
        let leads = match (&settings.leader, &word) {
            (Some(leader), _) => leader == me,
            (None, Some(word)) => word.leader == *me && authority,
            (None, None) => false,
        };
        let office = Self {
            leads,
            fresh: settings.leader.is_some(),
            problem: None,
            word,
        };
        if let Some(word) = &office.word {
            settings.shared = word.settings.clone();
        }
        (office, settings)
    }
}

impl Gateway {
    /// Whether this gateway allots and signs.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.office.leads
    }

    /// Who does; nobody where a controller has appointed nobody yet.
    #[must_use]
    pub fn leader(&self) -> Option<&GatewayName> {
        let appointed = self.office.word.as_ref().map(|word| &word.leader);
        self.settings.leader.as_ref().or(appointed)
    }

    /// `HOST:PORT` of an appointed leader's local service.
    #[must_use]
    pub fn leader_address(&self) -> Option<&str> {
        let word = self.office.word.as_ref();
        word.map(|word| word.leader_address.as_str())
    }

    /// The highest term that was obeyed; 0: none.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.office.word.as_ref().map_or(0, |word| word.term)
    }

    /// What this gateway says of itself to a controller, but for the CA.
    #[must_use]
    pub fn lead_hello(&self, local_address: &str, draining: bool, now: Now) -> LeadHello {
        let held = self.ledger.newest();
        let unheard = self.unheard();
        LeadHello {
            gateway: self.settings.gateway.clone(),
            node: self.settings.node.clone(),
            local_address: local_address.to_owned(),
            epoch: self.highest_epoch(),
            held: (held.epoch, held.version),
            term: self.term(),
            leader: self.leader().cloned(),
            leads: self.is_leader(),
            draining,
            unheard_ms: unheard.map(|(_, since)| now.age(since.mono_ms)),
            authority: None,
            rotate_authority: false,
        }
    }

    /// The highest epoch of this cluster that this gateway knows of, by its own state or by anybody's word.
    #[must_use]
    pub fn highest_epoch(&self) -> u64 {
        let cut = self.catalog.own.held().map_or(0, |h| h.revision.epoch);
        let held = self.ledger.newest().epoch;
        self.epoch.max(self.seen).max(held).max(cut)
    }

    /// What a leader must not lose, as far as it is here; without the CA.
    #[must_use]
    pub fn leader_state(&self) -> LeaderState {
        let held = self.ledger.in_force();
        LeaderState {
            authority: None,
            allocations: (held.epoch > 0).then(|| without_rings(held)),
            trust: (self.trust.version > 0).then(|| self.trust.clone()),
        }
    }

    /// Whether a controller's word will be obeyed.
    ///
    /// # Errors
    /// When it is over, or contradicts what another controller has said in the same term.
    pub fn obeys(&self, appointment: &Appointment) -> Result<(), LeadRefused> {
        let (term, known) = (appointment.term, self.term());
        let leader = self.leader();
        let why = if self.settings.leader.is_some() {
            "this gateway's leader is fixed by its configuration".to_owned()
        } else if term < known {
            format!("term {term} is over: term {known} has begun")
        } else if term == known && leader.is_some_and(|leader| *leader != appointment.leader) {
            format!("term {term} has another leader")
        } else {
            return Ok(());
        };
        Err(LeadRefused {
            term: known,
            leader: leader.cloned(),
            why,
        })
    }

    /// Obeys a controller's word.
    ///
    /// # Errors
    /// As [`obeys`](Self::obeys); nothing has changed then.
    pub fn appoint(&mut self, appointment: Appointment, now: Now) -> Result<(), LeadRefused> {
        self.obeys(&appointment)?;
        let Appointment { epoch, state, .. } = appointment;
        let word = Appointment {
            state: None,
            ..appointment
        };
        let me = word.leader == self.settings.gateway;
        let moved = self.leader() != Some(&word.leader);
        let unheard = self.unheard();
        if self.office.word.as_ref() != Some(&word) {
            self.keep(Keep::Appointment(word.clone()));
        }
        self.apply_settings(&word.settings);
        self.office.word = Some(word);
        if !me && self.office.leads {
            self.step_down();
        }
        if moved {
            self.link = super::Link::new(now);
        }
        if me && !self.office.leads {
            self.take_up(state.unwrap_or_default(), now);
            self.take_office(epoch, unheard, now);
        } else if me && epoch > self.epoch && epoch < GREATEST_EPOCH {
            self.epoch = allot::appointed_epoch(epoch, 0, self.term());
        } else if !me {
            self.seen_epoch(epoch);
        }
        self.dirty = true;
        Ok(())
    }

    fn apply_settings(&mut self, shared: &ClusterSettings) {
        self.office.problem = match shared.check(&self.settings.cluster) {
            Ok(()) => {
                self.settings.shared = shared.clone();
                None
            }
            Err(wrong) => Some(Problem {
                kind: ProblemKind::BadObject,
                subject: "cluster configuration".to_owned(),
                message: format!("{wrong}; the settings before it stay in force"),
            }),
        };
    }

    /// What the controller's store holds and is newer than what is held here.
    fn take_up(&mut self, state: LeaderState, now: Now) {
        if let Some(stored) = state.allocations {
            let ours = self.ledger.in_force();
            if (stored.epoch, stored.version) > (ours.epoch, ours.version) {
                let rings = ours.rings.clone();
                let allocations = Allocations { rings, ..stored };
                self.ledger = Ledger::restored(allocations.clone());
                self.keep(Keep::Allocations(allocations));
            }
        }
        if let Some(trust) = state.trust
            && trust.version > self.trust.version
        {
            self.trusted(trust, now);
        }
    }

    fn take_office(&mut self, told: u64, unheard: Option<(GatewayName, Now)>, now: Now) {
        let told = if told < GREATEST_EPOCH { told } else { 0 };
        let known = self.highest_epoch().max(told);
        self.epoch = allot::appointed_epoch(known, unix_secs(now.wall), self.term());
        self.ledger = Ledger::restored(self.ledger.in_force().clone());
        self.office.leads = true;
        self.office.fresh = true;
        self.recall_followers(unheard, now);
        // Another gateway may hold what neither this one nor the store has.
        self.wait_until = Some(now.mono_ms.saturating_add(leader::WAIT_MS));
    }

    /// What was proposed and never came into force is nobody's.
    fn step_down(&mut self) {
        self.office.leads = false;
        self.followers.clear();
        self.storing = None;
        self.wait_until = None;
        if self.ledger.pending().is_some() {
            let in_force = self.ledger.in_force().clone();
            self.ledger = Ledger::restored(in_force.clone());
            self.keep(Keep::Allocations(in_force));
        }
    }

    /// Takes up a leadership that the configuration or the disk says is this gateway's.
    pub(super) fn resume(&mut self, now: Now) {
        if !self.office.leads {
            return;
        }
        let own = self.highest_epoch();
        self.epoch = if self.settings.leader.is_some() {
            allot::next_epoch(own, 0, 0, unix_secs(now.wall))
        } else {
            allot::resumed_epoch(own, self.term())
        };
    }

    /// Somebody has seen this epoch of this cluster; a leader's is above it.
    pub(super) fn seen_epoch(&mut self, epoch: u64) {
        if epoch >= GREATEST_EPOCH {
            return;
        }
        self.seen = self.seen.max(epoch);
        if !self.is_leader() {
            self.epoch = self.epoch.max(epoch);
            return;
        }
        // Of two appointed leaders the one before must not climb over its successor.
        if !self.office.fresh {
            return;
        }
        let mine = self.catalog.own.held().map_or(0, |h| h.revision.epoch);
        if epoch >= self.epoch.max(1) && epoch > mine {
            self.epoch = match self.settings.leader {
                Some(_) => epoch.saturating_add(1),
                None => allot::appointed_epoch(epoch, 0, self.term()),
            };
            self.dirty = true;
        }
    }

    /// A revision was cut.
    pub(super) fn has_cut(&mut self) {
        self.office.fresh = self.settings.leader.is_some();
    }

    pub(super) fn office_problems(&self) -> impl Iterator<Item = Problem> {
        let word = self.office.problem.clone();
        word.into_iter().chain(self.storing_problem())
    }
}

/// As the controller's store keeps them.
pub(super) fn without_rings(allocations: &Allocations) -> Allocations {
    Allocations {
        epoch: allocations.epoch,
        version: allocations.version,
        vips: allocations.vips.clone(),
        peers: allocations.peers.clone(),
        self_map: allocations.self_map.clone(),
        identities: allocations.identities.clone(),
        rings: Default::default(),
        seed: allocations.seed,
        salts: allocations.salts.clone(),
        nodes: allocations.nodes.clone(),
    }
}
