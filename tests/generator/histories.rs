//! Realistic identity histories: joiners, movers and leavers of one company, as an HR system would publish them.
//!
//! Used by the program `identity-histories` and by tests that account for every event. The same seed gives the same bytes on every
//! machine and with every version of every library: the random numbers and the JSON are made here. Payloads have the shapes of the
//! event catalogue. Nothing in here is a real person.

use std::{cmp::Reverse, collections::BinaryHeap};

#[path = "json.rs"]
mod json;
#[path = "names.rs"]
mod names;
#[path = "random.rs"]
mod random;

use json::{Json, list, object, text, time};
use names::{DEPARTMENTS, FAMILY, GIVEN, Name, Resource, SYSTEMS};
use random::Random;

/// The seed of the file that documentation and tests speak of.
pub const SEED: u64 = 20_261_125;

/// Its number of events.
pub const COUNT: usize = 10_000;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2024-01-01T08:00:00Z.
const BEGIN: i64 = 1_704_096_000_000;

/// `count` events, one JSON object a line, in the order of their times.
///
/// Each has `event_id`, `type`, `subject`, `occurred_time`, `tags` and `data`: what `gatepost publish` reads from its input.
#[must_use]
pub fn histories(seed: u64, count: usize) -> Vec<String> {
    let mut company =
        Company { random: Random::new(seed), people: Vec::new(), due: BinaryHeap::new(), steps: 0, lines: Vec::new() };
    company.plan(BEGIN, Step::Hire);
    while company.lines.len() < count {
        let Some(Reverse((at, _, step))) = company.due.pop() else { break };
        company.take(at, step);
    }
    company.lines.truncate(count);
    company.lines
}

struct Company {
    random: Random,
    people: Vec<Person>,
    /// Ordered by time, then by the order of planning.
    due: BinaryHeap<Reverse<(i64, u64, Step)>>,
    steps: u64,
    lines: Vec<String>,
}

struct Person {
    given: Name,
    family: Name,
    status: &'static str,
    department: usize,
    grade: usize,
    manager: Option<usize>,
    start: i64,
    systems: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Hire,
    Activate(usize),
    Join(usize, usize),
    Ask(usize),
    Decide(usize, u64, usize),
    Move(usize),
    Promote(usize),
    Suspend(usize),
    Reactivate(usize),
    Resign(usize),
    Leave(usize, bool),
    Drop(usize, usize),
    Purge(usize),
    Rehire(usize),
}

impl Company {
    fn plan(&mut self, at: i64, step: Step) {
        self.steps += 1;
        self.due.push(Reverse((at, self.steps, step)));
    }

    /// After `days` and some working hours.
    fn later(&mut self, now: i64, days: std::ops::Range<i64>, step: Step) {
        let midnight = now - now.rem_euclid(DAY);
        let at = midnight + self.random.within(days) * DAY + 8 * HOUR + self.random.within(0..9 * HOUR);
        self.plan(at.max(now + MINUTE), step);
    }

    fn take(&mut self, now: i64, step: Step) {
        match step {
            Step::Hire => self.hire(now),
            Step::Activate(who) => self.activate(now, who),
            Step::Join(who, department) => self.membership(now, who, department, "group.member_added"),
            Step::Drop(who, department) => self.membership(now, who, department, "group.member_removed"),
            Step::Ask(who) => self.ask(now, who),
            Step::Decide(who, request, system) => self.decide(now, who, request, system),
            Step::Move(who) => self.change_department(now, who),
            Step::Promote(who) => self.promote(now, who),
            Step::Suspend(who) => self.suspend(now, who),
            Step::Reactivate(who) => self.reactivate(now, who),
            Step::Resign(who) => self.resign(now, who),
            Step::Leave(who, involuntary) => self.leave(now, who, involuntary),
            Step::Purge(who) => self.purge(now, who),
            Step::Rehire(who) => self.rehire(now, who),
        }
    }

    fn hire(&mut self, now: i64) {
        let department = self.random.below(DEPARTMENTS.len());
        let person = Person {
            given: *self.random.pick(GIVEN),
            family: *self.random.pick(FAMILY),
            status: "staged",
            department,
            grade: self.random.below(2),
            manager: self.active_in(department),
            start: now + self.random.within(5..30) * DAY,
            systems: Vec::new(),
        };
        let (who, start) = (self.people.len(), person.start);
        self.people.push(person);
        self.user_event(now, who, "user.created", &[("start_at", time(start)), ("source", text("hris"))]);
        self.plan(start, Step::Activate(who));
        self.later(now, 1..3, Step::Hire);
    }

    fn activate(&mut self, now: i64, who: usize) {
        self.people[who].manager = self.active_in(self.people[who].department);
        self.people[who].status = "active";
        self.user_event(now, who, "user.activated", &[("start_at", time(now))]);
        self.settle(now, who);
        self.next_turn(now, who);
    }

    /// What every newcomer to a team gets: its group, and soon the systems that its work needs.
    fn settle(&mut self, now: i64, who: usize) {
        self.plan(now + 2 * MINUTE, Step::Join(who, self.people[who].department));
        for _ in 0..self.random.within(1..4) {
            self.later(now, 0..12, Step::Ask(who));
        }
    }

    /// What happens to a person next: most move or rise, some take leave, in the end all leave.
    fn next_turn(&mut self, now: i64, who: usize) {
        match self.random.below(100) {
            0..30 => self.later(now, 40..200, Step::Move(who)),
            30..52 => self.later(now, 60..260, Step::Promote(who)),
            52..66 => self.later(now, 30..240, Step::Suspend(who)),
            66..92 => self.later(now, 60..300, Step::Resign(who)),
            _ => self.later(now, 30..300, Step::Leave(who, true)),
        }
    }

    fn ask(&mut self, now: i64, who: usize) {
        if self.people[who].status != "active" {
            return;
        }
        let system = self.random.below(SYSTEMS.len());
        if self.people[who].systems.contains(&system) {
            return;
        }
        let request = self.steps;
        self.people[who].systems.push(system);
        self.request_event(now, who, "access_request.created", request, system, &[]);
        self.later(now, 0..4, Step::Decide(who, request, system));
    }

    fn decide(&mut self, now: i64, who: usize, request: u64, system: usize) {
        let person = &mut self.people[who];
        if person.status != "active" {
            person.systems.retain(|held| *held != system);
            return self.request_event(now, who, "access_request.cancelled", request, system, &[]);
        }
        let (manager, department) = (person.manager, person.department);
        let manager = manager.filter(|manager| self.people[*manager].status == "active").or_else(|| self.active_in(department));
        let approver = manager.unwrap_or(who);
        let approver = object(&[("type", text("user")), ("id", text(&user_id(approver))), ("email", text(&self.email(approver)))]);
        match self.random.below(10) {
            0 => {
                self.people[who].systems.retain(|held| *held != system);
                let comment = text("Not needed for this role – please ask your team lead first.");
                self.request_event(
                    now,
                    who,
                    "access_request.denied",
                    request,
                    system,
                    &[("approver", approver), ("comment", comment)],
                );
            }
            1 => {
                let changes =
                    list(&[object(&[("field", text("access_length_seconds")), ("old", "null".into()), ("new", "604800".into())])]);
                self.request_event(now, who, "access_request.modified", request, system, &[("changes", changes)]);
                self.later(now, 0..2, Step::Decide(who, request, system));
            }
            _ => self.request_event(
                now,
                who,
                "access_request.approved",
                request,
                system,
                &[("approver", approver), ("stage", text("manager"))],
            ),
        }
    }

    fn change_department(&mut self, now: i64, who: usize) {
        if self.people[who].status != "active" {
            return;
        }
        let (old, old_manager) = (self.people[who].department, self.people[who].manager);
        let new = (old + 1 + self.random.below(DEPARTMENTS.len() - 1)) % DEPARTMENTS.len();
        let new_manager = self.active_in(new).filter(|manager| *manager != who);
        (self.people[who].department, self.people[who].manager) = (new, new_manager);
        let (from, to) = (text(DEPARTMENTS[old].label), text(DEPARTMENTS[new].label));
        self.user_event(now, who, "user.department_changed", &[("new", to), ("old", from), ("effective_at", time(now))]);
        let mut managers = vec![("new", new_manager.map_or("null".into(), |manager| self.short(manager)))];
        managers.extend(old_manager.map(|manager| ("old", self.short(manager))));
        self.user_event(now, who, "user.manager_changed", &managers);
        self.plan(now + MINUTE, Step::Drop(who, old));
        self.settle(now, who);
        self.next_turn(now, who);
    }

    fn promote(&mut self, now: i64, who: usize) {
        if self.people[who].status != "active" {
            return;
        }
        let person = &mut self.people[who];
        let titles = DEPARTMENTS[person.department].titles;
        let old = titles[person.grade % titles.len()];
        person.grade += 1;
        let new = titles[person.grade % titles.len()];
        self.user_event(now, who, "user.role_changed", &[("new", text(new)), ("old", text(old)), ("effective_at", time(now))]);
        self.later(now, 0..5, Step::Ask(who));
        self.next_turn(now, who);
    }

    fn suspend(&mut self, now: i64, who: usize) {
        if self.people[who].status != "active" {
            return;
        }
        self.people[who].status = "suspended";
        let until = now + self.random.within(14..180) * DAY;
        let reason = *self.random.pick(&["parental leave", "sabbatical", "long-term sick leave", "security hold"]);
        self.user_event(now, who, "user.suspended", &[("reason", text(reason)), ("until_at", time(until))]);
        self.plan(until, Step::Reactivate(who));
    }

    fn reactivate(&mut self, now: i64, who: usize) {
        self.people[who].status = "active";
        self.user_event(now, who, "user.reactivated", &[("previous_status", text("suspended"))]);
        self.next_turn(now, who);
    }

    fn resign(&mut self, now: i64, who: usize) {
        if self.people[who].status != "active" {
            return;
        }
        let last = now + self.random.within(14..90) * DAY;
        let day = json::day(last);
        self.user_event(now, who, "user.termination_scheduled", &[("effective_at", time(last)), ("last_day", day)]);
        self.plan(last, Step::Leave(who, false));
    }

    fn leave(&mut self, now: i64, who: usize, involuntary: bool) {
        let previous = self.people[who].status;
        self.people[who].status = "inactive";
        let reason = match (involuntary, self.random.below(5)) {
            (true, _) => "involuntary",
            (false, 0) => "end_of_contract",
            (false, _) => "voluntary",
        };
        let mut data = vec![("effective_at", time(now)), ("previous_status", text(previous)), ("last_day", json::day(now))];
        data.extend(self.people[who].manager.map(|manager| ("manager", self.short(manager))));
        data.push(("reason", text(reason)));
        self.user_event(now, who, "user.terminated", &data);
        self.people[who].systems.clear();
        self.plan(now + 5 * MINUTE, Step::Drop(who, self.people[who].department));
        match self.random.below(12) {
            0 => self.later(now, 30..200, Step::Rehire(who)),
            _ => self.later(now, 90..91, Step::Purge(who)),
        }
    }

    fn purge(&mut self, now: i64, who: usize) {
        let user = object(&[("id", text(&user_id(who)))]);
        self.event(now, who, "user.deleted", user_id(who), object(&[("user", user)]));
    }

    fn rehire(&mut self, now: i64, who: usize) {
        (self.people[who].status, self.people[who].start) = ("active", now);
        self.user_event(now, who, "user.rehired", &[("previous_user_id", text(&user_id(who)))]);
        self.settle(now, who);
        self.next_turn(now, who);
    }

    fn membership(&mut self, now: i64, who: usize, department: usize, kind: &str) {
        let department = &DEPARTMENTS[department];
        let group =
            object(&[("id", text(&format!("grp_{}", department.id))), ("label", text(department.label)), ("type", text("team"))]);
        self.user_event(now, who, kind, &[("group", group)]);
    }

    fn active_in(&mut self, department: usize) -> Option<usize> {
        let there = |(who, person): (usize, &Person)| (person.department == department && person.status == "active").then_some(who);
        let people: Vec<usize> = self.people.iter().enumerate().filter_map(there).collect();
        (!people.is_empty()).then(|| *self.random.pick(&people))
    }

    fn user_event(&mut self, now: i64, who: usize, kind: &str, more: &[(&str, Json)]) {
        let mut data = vec![("user", self.user(who))];
        data.extend_from_slice(more);
        data.push(("initiating_entity", text("system")));
        data.push(("actor", object(&[("type", text("integration")), ("id", text("hris"))])));
        self.event(now, who, kind, user_id(who), object(&data));
    }

    fn request_event(&mut self, now: i64, who: usize, kind: &str, request: u64, system: usize, more: &[(&str, Json)]) {
        let Resource { app, label, permission, permission_label } = SYSTEMS[system];
        let id = format!("req_{request:06}");
        let created = kind == "access_request.created";
        let status = match kind {
            "access_request.created" | "access_request.modified" => "pending",
            _ => kind.trim_start_matches("access_request."),
        };
        let mut request = vec![
            ("id", text(&id)),
            ("status", text(status)),
            ("requester", self.short(who)),
            ("target_user", self.short(who)),
            ("application", object(&[("app_id", text(app)), ("user_friendly_label", text(label))])),
            ("permissions", list(&[object(&[("id", text(permission)), ("label", text(permission_label))])])),
        ];
        if created {
            request.push(("comment", text(&format!("Needed for “{}” – since {}", self.title(who), label))));
        }
        let mut data = vec![("access_request", object(&request))];
        data.extend_from_slice(more);
        self.event(now, who, kind, format!("access_request/{id}"), object(&data));
    }

    fn event(&mut self, now: i64, who: usize, kind: &str, subject: String, data: Json) {
        let subject = if subject.contains('/') { subject } else { format!("user/{subject}") };
        let tags = object(&[("department", text(DEPARTMENTS[self.people[who].department].id)), ("source", text("hris"))]);
        self.lines.push(object(&[
            ("event_id", text(&format!("evt_hris_{:06}", self.lines.len() + 1))),
            ("type", text(kind)),
            ("subject", text(&subject)),
            ("occurred_time", time(now)),
            ("tags", tags),
            ("data", data),
        ]));
    }

    fn user(&self, who: usize) -> Json {
        let person = &self.people[who];
        let attributes = object(&[
            ("department", text(DEPARTMENTS[person.department].label)),
            ("title", text(self.title(who))),
            ("start_date", json::day(person.start)),
        ]);
        object(&[
            ("id", text(&user_id(who))),
            ("email", text(&self.email(who))),
            ("given_name", text(person.given.0)),
            ("family_name", text(person.family.0)),
            ("external_id", text(&format!("E{:05}", 10_000 + who))),
            ("status", text(person.status)),
            ("attributes", attributes),
        ])
    }

    fn short(&self, who: usize) -> Json {
        let person = &self.people[who];
        object(&[
            ("id", text(&user_id(who))),
            ("email", text(&self.email(who))),
            ("given_name", text(person.given.0)),
            ("family_name", text(person.family.0)),
        ])
    }

    fn title(&self, who: usize) -> &'static str {
        let person = &self.people[who];
        let titles = DEPARTMENTS[person.department].titles;
        titles[person.grade % titles.len()]
    }

    fn email(&self, who: usize) -> String {
        let person = &self.people[who];
        format!("{}.{}{}@acme.test", person.given.1, person.family.1, who)
    }
}

fn user_id(who: usize) -> String {
    format!("usr_{:05}", who + 1)
}
