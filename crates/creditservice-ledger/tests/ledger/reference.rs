//! The same rules once more, as simply as they can be said: lists of what happened, and sums over all of them each time.
//!
//! It shares nothing with the ledger but the words: no postings, no indexes, costs by the second, seconds in a set.

use std::collections::BTreeSet;

use super::steps::{Asks, Counts, Forecasts, KINDS, SKUS, Used};

/// A minor unit in the parts that every cost of the model's rates is a whole number of.
const PARTS: i128 = 1_000_000_000 * 3_600 * 1_024;
pub(crate) const REMEMBER: i64 = 25 * 3_600;
pub(crate) const MAX_OPEN: usize = 6;

type Code = &'static str;

/// What came of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Change,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    Open,
    Committed,
    Released,
    Expired,
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) project: &'static str,
    pub(crate) amount: i64,
    units: Counts,
    pub(crate) expires: i64,
    pub(crate) resolution: Resolution,
    /// When it was written that it is over.
    resolved: i64,
    resource: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wallet {
    project: &'static str,
    /// 0 active, 1 suspended, 2 closed.
    pub(crate) status: u8,
    metered: bool,
    overdraft: i64,
    overage: bool,
}

#[derive(Clone, Debug)]
struct Price {
    sku: &'static str,
    from: i64,
    nanos: u64,
    per_quantity: u64,
    per_seconds: Option<u64>,
}

#[derive(Clone, Debug)]
struct Charge {
    project: &'static str,
    amount: i64,
    refunded: i64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    wallets: Vec<Wallet>,
    /// Every change of a balance.
    moves: Vec<(&'static str, i64)>,
    pub(crate) holds: Vec<Hold>,
    /// Every change of what a resource uses.
    claims: Vec<(&'static str, String, usize, i64)>,
    defaults: Vec<(&'static str, Option<i64>)>,
    own: Vec<(&'static str, &'static str, Option<Option<i64>>)>,
    prices: Vec<Price>,
    /// Project, resource, SKU, second.
    counted: BTreeSet<(&'static str, &'static str, &'static str, i64)>,
    /// What was used, in parts, and what was taken for it.
    costs: Vec<(&'static str, &'static str, i128)>,
    charges: Vec<Charge>,
    /// The time of the last change.
    last: i64,
    /// Of the step.
    at: i64,
}

impl World {
    /// A step at this second, or at the last change if the clock went back.
    pub(crate) fn begin(&mut self, now: i64) {
        self.at = now.max(self.last);
    }

    /// Something of a project changed: its holds whose time has come are over for good.
    fn changed(&mut self, project: &str) -> Result<Did, Code> {
        self.last = self.at;
        let at = self.at;
        for hold in &mut self.holds {
            if hold.project == project && hold.resolution == Resolution::Open && hold.expires <= at
            {
                hold.resolution = Resolution::Expired;
                hold.resolved = at;
            }
        }
        Ok(Did::Change)
    }

    // What can be seen.

    pub(crate) fn wallet(&self, project: &str) -> Option<&Wallet> {
        self.wallets.iter().find(|wallet| wallet.project == project)
    }

    pub(crate) fn balance(&self, project: &str) -> i64 {
        let of_project = self.moves.iter().filter(|(whose, _)| *whose == project);
        of_project.map(|(_, change)| change).sum()
    }

    /// As it is written: expiry that nobody wrote yet does not count.
    pub(crate) fn reserved(&self, project: &str) -> i64 {
        self.open(project).map(|hold| hold.amount).sum()
    }

    pub(crate) fn units_reserved(&self, project: &str, kind: usize) -> i64 {
        self.open(project).map(|hold| hold.units[kind]).sum()
    }

    pub(crate) fn units_used(&self, project: &str, kind: usize) -> i64 {
        let all = self.claims.iter();
        all.filter(|claim| claim.0 == project && claim.2 == kind)
            .map(|claim| claim.3)
            .sum()
    }

    /// None if the kind is not registered, else the limit.
    pub(crate) fn limit(&self, project: &str, kind: &str) -> Option<Option<i64>> {
        let default = self.defaults.iter().rfind(|(of, _)| *of == kind)?.1;
        let own = self
            .own
            .iter()
            .rfind(|(whose, of, _)| *whose == project && *of == kind);
        Some(own.and_then(|own| own.2).unwrap_or(default))
    }

    pub(crate) fn owed(&self, project: &str) -> i64 {
        SKUS.iter()
            .map(|sku| whole(self.carried(project, sku)))
            .sum()
    }

    pub(crate) fn next_expiry(&self) -> Option<i64> {
        let open = self.holds.iter();
        open.filter(|hold| hold.resolution == Resolution::Open)
            .map(|hold| hold.expires)
            .min()
    }

    /// Whether what it came to is still known.
    pub(crate) fn is_remembered(&self, hold: &Hold) -> bool {
        hold.resolution == Resolution::Open || hold.resolved >= self.last - REMEMBER
    }

    fn open<'a>(&'a self, project: &'a str) -> impl Iterator<Item = &'a Hold> {
        self.holds
            .iter()
            .filter(move |hold| hold.project == project && hold.resolution == Resolution::Open)
    }

    /// Those that hold at this moment, written or not.
    fn holding<'a>(&'a self, project: &'a str) -> impl Iterator<Item = &'a Hold> {
        self.open(project).filter(|hold| hold.expires > self.at)
    }

    fn spendable(&self, project: &str) -> i64 {
        let Some(wallet) = self.wallet(project) else {
            return 0;
        };
        let held: i64 = self.holding(project).map(|hold| hold.amount).sum();
        self.balance(project) - held + wallet.overdraft
    }

    fn carried(&self, project: &str, sku: &str) -> i128 {
        let all = self.costs.iter();
        all.filter(|cost| cost.0 == project && cost.1 == sku)
            .map(|cost| cost.2)
            .sum()
    }

    // Wallets.

    pub(crate) fn create(
        &mut self,
        project: &'static str,
        initial: i64,
        metered: bool,
        overdraft: i64,
        overage: bool,
    ) -> Result<Did, Code> {
        if self.wallet(project).is_some() {
            return Err("WALLET_EXISTS");
        }
        self.wallets.push(Wallet {
            project,
            status: 0,
            metered,
            overdraft,
            overage,
        });
        self.moves.push((project, initial));
        self.changed(project)
    }

    fn usable(&self, project: &str) -> Result<&Wallet, Code> {
        match self.wallet(project) {
            None => Err("WALLET_NOT_FOUND"),
            Some(wallet) if wallet.status == 2 => Err("WALLET_CLOSED"),
            Some(wallet) => Ok(wallet),
        }
    }

    fn barred(&self, project: &str) -> Result<(), Code> {
        match self.wallet(project).map(|wallet| wallet.status) {
            None | Some(0) => Ok(()),
            Some(1) => Err("WALLET_SUSPENDED"),
            Some(_) => Err("WALLET_CLOSED"),
        }
    }

    pub(crate) fn update(
        &mut self,
        project: &'static str,
        status: Option<u8>,
        metered: Option<bool>,
        overdraft: Option<i64>,
        overage: Option<bool>,
    ) -> Result<Did, Code> {
        let old = self.usable(project)?.clone();
        let new = Wallet {
            project,
            status: status.unwrap_or(old.status),
            metered: metered.unwrap_or(old.metered),
            overdraft: overdraft.unwrap_or(old.overdraft),
            overage: overage.unwrap_or(old.overage),
        };
        if new == old {
            return Ok(Did::Nothing);
        }
        let free = self.spendable(project) - old.overdraft;
        if free < -new.overdraft {
            return Err("OVERDRAFT_IN_USE");
        }
        if new.status == 2 {
            if self.holding(project).count() > 0 {
                return Err("WALLET_HAS_RESERVATIONS");
            }
            if self.balance(project) != 0 || self.owed(project) != 0 {
                return Err("WALLET_NOT_EMPTY");
            }
            self.costs.retain(|cost| cost.0 != project);
        }
        let wallet = self.wallets.iter_mut().find(|one| one.project == project);
        *wallet.unwrap() = new;
        self.changed(project)
    }

    pub(crate) fn top_up(&mut self, project: &'static str, amount: i64) -> Result<Did, Code> {
        self.usable(project)?;
        self.moves.push((project, amount));
        let mut left = self.spendable(project).max(0);
        for sku in SKUS {
            left -= self.take(project, sku, left);
        }
        self.changed(project)
    }

    /// Takes what is owed for a SKU, as far as it can be paid.
    fn take(&mut self, project: &'static str, sku: &'static str, payable: i64) -> i64 {
        let taken = whole(self.carried(project, sku)).min(payable);
        self.costs.push((project, sku, -i128::from(taken) * PARTS));
        self.moves.push((project, -taken));
        taken
    }

    pub(crate) fn adjust(&mut self, project: &'static str, amount: i64) -> Result<Did, Code> {
        self.usable(project)?;
        if amount < 0 && -amount > self.spendable(project) {
            return Err("INSUFFICIENT_CREDIT");
        }
        self.moves.push((project, amount));
        self.changed(project)
    }

    pub(crate) fn charge(&mut self, project: &'static str, amount: i64) -> Result<Did, Code> {
        self.usable(project)?;
        self.barred(project)?;
        if amount > self.spendable(project) {
            return Err("INSUFFICIENT_CREDIT");
        }
        self.moves.push((project, -amount));
        self.charges.push(Charge {
            project,
            amount,
            refunded: 0,
        });
        self.changed(project)
    }

    /// Project and amount of a charge.
    pub(crate) fn charge_at(&self, pick: usize) -> Option<(usize, &'static str, i64)> {
        let at = pick.checked_rem(self.charges.len())?;
        let charge = &self.charges[at];
        Some((at, charge.project, charge.amount))
    }

    pub(crate) fn refund(&mut self, charge: usize, amount: i64) -> Result<Did, Code> {
        let Charge {
            project,
            amount: charged,
            refunded,
        } = self.charges[charge].clone();
        self.usable(project)?;
        if refunded + amount > charged {
            return Err("REFUND_EXCEEDS_CHARGE");
        }
        self.charges[charge].refunded += amount;
        self.moves.push((project, amount));
        self.changed(project)
    }

    // Reservations.

    /// Whether the wallet pays for what is asked.
    fn pays(&self, project: &str, asks: Asks) -> Result<bool, Code> {
        match (asks, self.wallet(project)) {
            (Asks::Caller, _) => self.usable(project).map(|_| true),
            (Asks::ServiceRequired, None) => Err("WALLET_NOT_FOUND"),
            (Asks::Service, None) => Ok(false),
            (_, Some(wallet)) => Ok(wallet.metered),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "as many as a reservation has")]
    pub(crate) fn reserve(
        &mut self,
        project: &'static str,
        amount: i64,
        forecast: Option<(i64, &Forecasts)>,
        units: Counts,
        ttl: i64,
        asks: Asks,
        resource: Option<&'static str>,
    ) -> Result<Did, Code> {
        let wants_credit = amount > 0 || forecast.is_some();
        if !wants_credit && units == [0; 3] {
            return Err("VALIDATION_ERROR");
        }
        self.barred(project)?;
        if self.holding(project).count() >= MAX_OPEN {
            return Err("TOO_MANY_RESERVATIONS");
        }
        // Units alone are a caller's without a wallet; a service may require one even so.
        let by_caller = matches!(asks, Asks::Caller);
        let pays = (wants_credit || !by_caller) && self.pays(project, asks)?;
        let amount = match forecast {
            _ if !wants_credit || !pays => 0,
            Some((start, forecast)) => self.forecast(start, forecast)?,
            None => amount,
        };
        if amount > 0 && amount > self.spendable(project) {
            return Err("INSUFFICIENT_CREDIT");
        }
        self.has_room(project, units)?;
        self.hold(project, amount, units, ttl, resource);
        self.changed(project)
    }

    fn hold(
        &mut self,
        project: &'static str,
        amount: i64,
        units: Counts,
        ttl: i64,
        resource: Option<&'static str>,
    ) {
        self.holds.push(Hold {
            project,
            amount,
            units,
            expires: self.at + ttl,
            resolution: Resolution::Open,
            resolved: 0,
            resource,
        });
    }

    fn has_room(&self, project: &str, units: Counts) -> Result<(), Code> {
        let asked = || (0..KINDS.len()).filter(|kind| units[*kind] > 0);
        if asked().any(|kind| self.limit(project, KINDS[kind]).is_none()) {
            return Err("VALIDATION_ERROR");
        }
        let fits = |kind: usize| {
            let held: i64 = self.holding(project).map(|hold| hold.units[kind]).sum();
            let total = self.units_used(project, kind) + held + units[kind];
            match self.limit(project, KINDS[kind]) {
                Some(Some(limit)) => total <= limit,
                _ => true,
            }
        };
        if asked().all(fits) {
            Ok(())
        } else {
            Err("QUOTA_EXCEEDED")
        }
    }

    /// An open hold of the caller's.
    fn mine(&self, hold: usize, caller: Option<&str>) -> Result<Hold, Code> {
        let hold = self.holds[hold].clone();
        let visible = caller.is_none_or(|caller| caller == hold.project);
        if !visible || !self.is_remembered(&hold) {
            return Err("RESERVATION_NOT_FOUND");
        }
        match hold.resolution {
            Resolution::Open if hold.expires <= self.at => Err("RESERVATION_EXPIRED"),
            Resolution::Open => Ok(hold),
            Resolution::Committed => Err("RESERVATION_COMMITTED"),
            Resolution::Released => Err("RESERVATION_RELEASED"),
            Resolution::Expired => Err("RESERVATION_EXPIRED"),
        }
    }

    fn resolve(&mut self, hold: usize, resolution: Resolution) {
        self.holds[hold].resolution = resolution;
        self.holds[hold].resolved = self.at;
    }

    pub(crate) fn commit(
        &mut self,
        at: usize,
        id: &str,
        actual: Option<i64>,
        units: Option<Counts>,
        caller: Option<&str>,
        resource: Option<&'static str>,
    ) -> Result<Did, Code> {
        let hold = self.mine(at, caller)?;
        let charged = actual.unwrap_or(hold.amount);
        if charged > hold.amount {
            let wallet = self.wallet(hold.project);
            let Some(wallet) = wallet.filter(|wallet| wallet.overage) else {
                return Err("EXCEEDS_RESERVATION");
            };
            if wallet.status == 1 {
                return Err("WALLET_SUSPENDED");
            }
            if charged - hold.amount > self.spendable(hold.project) {
                return Err("INSUFFICIENT_CREDIT");
            }
        }
        let units = units.unwrap_or(hold.units);
        if (0..3).any(|kind| units[kind] > hold.units[kind]) {
            return Err("EXCEEDS_RESERVATION");
        }
        self.moves.push((hold.project, -charged));
        self.use_units(&hold, units, resource, id);
        self.resolve(at, Resolution::Committed);
        self.changed(hold.project)
    }

    fn use_units(&mut self, hold: &Hold, units: Counts, resource: Option<&str>, id: &str) {
        let claimant = resource.or(hold.resource).unwrap_or(id);
        for (kind, count) in units.into_iter().enumerate() {
            let claim = (hold.project, claimant.to_owned(), kind, count);
            self.claims.push(claim);
        }
    }

    pub(crate) fn release(&mut self, at: usize, caller: Option<&str>) -> Result<Did, Code> {
        let hold = self.mine(at, caller)?;
        self.resolve(at, Resolution::Released);
        self.changed(hold.project)
    }

    pub(crate) fn extend(&mut self, at: usize, ttl: i64) -> Result<Did, Code> {
        let hold = self.mine(at, None)?;
        self.barred(hold.project)?;
        if self.at + ttl <= hold.expires {
            return Ok(Did::Nothing);
        }
        self.holds[at].expires = self.at + ttl;
        self.changed(hold.project)
    }

    /// How many were.
    pub(crate) fn expire_due(&mut self, at_most: usize) -> usize {
        let at = self.at;
        let mut due: Vec<(i64, usize)> = (0..self.holds.len())
            .filter(|one| self.holds[*one].resolution == Resolution::Open)
            .map(|one| (self.holds[one].expires, one))
            .filter(|(expires, _)| *expires <= at)
            .collect();
        due.sort_unstable();
        due.truncate(at_most);
        for (_, one) in &due {
            self.resolve(*one, Resolution::Expired);
            self.last = at;
        }
        due.len()
    }

    // Metering.

    pub(crate) fn publish(
        &mut self,
        sku: &'static str,
        from: i64,
        nanos: u64,
        per_quantity: u64,
        per_seconds: Option<u64>,
    ) -> Result<Did, Code> {
        let known = self
            .prices
            .iter()
            .find(|price| price.sku == sku && price.from == from);
        if let Some(known) = known {
            let same = (known.nanos, known.per_quantity, known.per_seconds)
                == (nanos, per_quantity, per_seconds);
            return if same {
                Ok(Did::Nothing)
            } else {
                Err("PRICE_FIXED")
            };
        }
        self.prices.push(Price {
            sku,
            from,
            nanos,
            per_quantity,
            per_seconds,
        });
        self.changed("")
    }

    /// In parts: second by second, each at its own price.
    fn cost(&self, sku: &str, start: i64, seconds: i64, quantity: u64) -> Result<i128, Code> {
        let price_at = |second: i64| {
            self.prices
                .iter()
                .filter(|price| price.sku == sku && price.from <= second)
                .max_by_key(|price| price.from)
                .ok_or("PRICE_NOT_FOUND")
        };
        let parts = |price: &Price, per_seconds: u64| {
            i128::from(quantity)
                * i128::from(price.nanos)
                * i128::from(1_024 / price.per_quantity)
                * i128::from(3_600 / per_seconds)
        };
        let first = price_at(start)?;
        if first.per_seconds.is_none() {
            return Ok(parts(first, 1));
        }
        let mut sum = 0;
        for second in start..start + seconds {
            let price = price_at(second)?;
            sum += parts(price, price.per_seconds.unwrap());
        }
        Ok(sum)
    }

    /// Rounded up per SKU.
    fn forecast(&self, start: i64, forecast: &Forecasts) -> Result<i64, Code> {
        let mut sum = 0;
        for (sku, quantity) in &forecast.lines {
            self.cost(sku, start, forecast.seconds, *quantity)?;
        }
        for sku in SKUS {
            let mut parts = 0;
            for (_, quantity) in forecast.lines.iter().filter(|line| line.0 == *sku) {
                parts += self.cost(sku, start, forecast.seconds, *quantity)?;
            }
            sum += whole(parts + PARTS - 1);
        }
        Ok(sum)
    }

    /// Charges usage that was not counted; what it took, or none if there was none.
    fn charge_usage(
        &mut self,
        project: &'static str,
        usage: &[(i64, Used)],
        mut payable: i64,
    ) -> Result<Option<i64>, Code> {
        let mut charged = None;
        for (start, used) in usage {
            let (start, end) = (*start, start + used.seconds);
            if end > self.at + 300 {
                return Err("VALIDATION_ERROR");
            }
            if start < self.at - 100 * 86_400 {
                return Err("USAGE_TOO_OLD");
            }
            let key = |second| (project, used.resource, used.sku, second);
            let known = (start..end)
                .filter(|second| self.counted.contains(&key(*second)))
                .count();
            if known == usize::try_from(used.seconds).unwrap() {
                continue;
            }
            if known > 0 {
                return Err("USAGE_OVERLAPS");
            }
            let cost = self.cost(used.sku, start, used.seconds, used.quantity)?;
            self.counted.extend((start..end).map(key));
            self.costs.push((project, used.sku, cost));
            let taken = self.take(project, used.sku, payable);
            payable -= taken;
            *charged.get_or_insert(0) += taken;
        }
        Ok(charged)
    }

    pub(crate) fn record(
        &mut self,
        project: &'static str,
        required: bool,
        usage: &[(i64, Used)],
    ) -> Result<Did, Code> {
        if !self.pays(project, by_service(required))? {
            return Ok(Did::Nothing);
        }
        self.usable(project)?;
        let before = self.clone();
        let payable = self.spendable(project);
        match self.charge_usage(project, usage, payable) {
            Ok(Some(_)) => self.changed(project),
            Ok(None) => Ok(Did::Nothing),
            Err(code) => {
                *self = before;
                Err(code)
            }
        }
    }

    pub(crate) fn settle(
        &mut self,
        project: &'static str,
        required: bool,
        hold: Option<(usize, &str)>,
        usage: &[(i64, Used)],
        next: Option<(i64, &Forecasts, i64)>,
        resource: &'static str,
    ) -> Result<Did, Code> {
        let before = self.clone();
        let result = self.try_settle(project, required, hold, usage, next, resource);
        if result != Ok(Did::Change) {
            *self = before;
        }
        result
    }

    fn try_settle(
        &mut self,
        project: &'static str,
        required: bool,
        hold: Option<(usize, &str)>,
        usage: &[(i64, Used)],
        next: Option<(i64, &Forecasts, i64)>,
        resource: &'static str,
    ) -> Result<Did, Code> {
        let billed = self.pays(project, by_service(required))?;
        if billed {
            self.usable(project)?;
        }
        let mut did = Did::Nothing;
        if let Some((at, id)) = hold {
            let old = self.holds[at].clone();
            if old.project != project && self.is_remembered(&old) {
                return Err("RESERVATION_NOT_FOUND");
            }
            if let Ok(old) = self.mine(at, Some(project)) {
                self.use_units(&old, old.units, Some(resource), id);
                self.resolve(at, Resolution::Committed);
                did = Did::Change;
            }
        }
        let replaces = did == Did::Change;
        if billed {
            let payable = self.spendable(project);
            if self.charge_usage(project, usage, payable)?.is_some() {
                did = Did::Change;
            }
        }
        if let Some((start, forecast, ttl)) = next {
            self.barred(project)?;
            if !replaces && self.holding(project).count() >= MAX_OPEN {
                return Err("TOO_MANY_RESERVATIONS");
            }
            let amount = if billed {
                self.forecast(start, forecast)?
            } else {
                0
            };
            if amount > 0 && amount > self.spendable(project) {
                return Err("INSUFFICIENT_CREDIT");
            }
            self.hold(project, amount, [0; 3], ttl, Some(resource));
            did = Did::Change;
        }
        match did {
            Did::Change => self.changed(project),
            Did::Nothing => Ok(Did::Nothing),
        }
    }

    // Quotas.

    pub(crate) fn register(
        &mut self,
        kind: &'static str,
        default: Option<i64>,
    ) -> Result<Did, Code> {
        let known = self.defaults.iter().rfind(|(of, _)| *of == kind);
        if known.is_some_and(|known| known.1 == default) {
            return Ok(Did::Nothing);
        }
        self.defaults.push((kind, default));
        self.changed("")
    }

    pub(crate) fn set_limit(
        &mut self,
        project: &'static str,
        kind: &'static str,
        own: Option<Option<i64>>,
    ) -> Result<Did, Code> {
        if self.limit(project, kind).is_none() {
            return Err("VALIDATION_ERROR");
        }
        let known = self
            .own
            .iter()
            .rfind(|one| one.0 == project && one.1 == kind)
            .and_then(|one| one.2);
        if known == own {
            return Ok(Did::Nothing);
        }
        self.own.push((project, kind, own));
        self.changed(project)
    }

    pub(crate) fn claim(&self, project: &str, claimant: &str) -> Counts {
        let of_kind = |kind| {
            self.claims
                .iter()
                .filter(|one| one.0 == project && one.1 == claimant && one.2 == kind)
                .map(|one| one.3)
                .sum()
        };
        [of_kind(0), of_kind(1), of_kind(2)]
    }

    pub(crate) fn free(
        &mut self,
        project: &'static str,
        claimant: &str,
        units: Option<Counts>,
    ) -> Result<Did, Code> {
        let claim = self.claim(project, claimant);
        if claim == [0; 3] {
            return Err("CLAIM_NOT_FOUND");
        }
        let units = units.unwrap_or(claim);
        if (0..3).any(|kind| units[kind] > claim[kind]) {
            return Err("CLAIM_TOO_SMALL");
        }
        if units == [0; 3] {
            return Ok(Did::Nothing);
        }
        for (kind, count) in units.into_iter().enumerate() {
            let change = (project, claimant.to_owned(), kind, -count);
            self.claims.push(change);
        }
        self.changed(project)
    }

    pub(crate) fn recount(
        &mut self,
        project: &'static str,
        claimant: &str,
        units: Counts,
    ) -> Result<Did, Code> {
        let mut named = (0..3).filter(|kind| units[*kind] > 0);
        if named.any(|kind| self.limit(project, KINDS[kind]).is_none()) {
            return Err("VALIDATION_ERROR");
        }
        let claim = self.claim(project, claimant);
        if claim == units {
            return Ok(Did::Nothing);
        }
        for kind in 0..3 {
            let change = (
                project,
                claimant.to_owned(),
                kind,
                units[kind] - claim[kind],
            );
            self.claims.push(change);
        }
        self.changed(project)
    }
}

fn by_service(required: bool) -> Asks {
    if required {
        Asks::ServiceRequired
    } else {
        Asks::Service
    }
}

fn whole(parts: i128) -> i64 {
    i64::try_from(parts.div_euclid(PARTS)).unwrap()
}
