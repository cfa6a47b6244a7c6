//! A wallet ledger in PostgreSQL, as it is usually done: a row for each wallet, locked while it is decided on.
//!
//! ```text
//!   reserve   BEGIN · SELECT … FOR UPDATE of the wallet · INSERT reservation · UPDATE wallet · INSERT entry · COMMIT
//!   commit    BEGIN · UPDATE reservation · SELECT … FOR UPDATE of the wallet · UPDATE wallet · INSERT entry · COMMIT
//! ```
//! Statements are prepared, and each is one round trip. The wallet is locked as late as can be. In the other way each of the two is one
//! call of a function: one round trip, and the same rows.

use anyhow::{Context, ensure};
use tokio_postgres::{Client, Statement};

use super::pairs::{HELD, INITIAL, PRICE, Standing, TTL_SECONDS};

const SCHEMA: &str = "
CREATE TABLE wallets (
    project text PRIMARY KEY,
    balance bigint NOT NULL,
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    CHECK (balance >= reserved)
);
CREATE TABLE reservations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL REFERENCES wallets,
    amount bigint NOT NULL CHECK (amount > 0),
    status text NOT NULL DEFAULT 'active',
    actual bigint,
    expires_at timestamptz NOT NULL
);
CREATE INDEX ON reservations (project, id) WHERE status = 'active';
CREATE TABLE entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL REFERENCES wallets,
    kind text NOT NULL,
    amount bigint NOT NULL,
    reservation bigint NOT NULL REFERENCES reservations,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON entries (project, id);

CREATE FUNCTION reserve(whose text, held bigint, ttl float8) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE available bigint; made bigint;
BEGIN
    SELECT balance - reserved INTO available FROM wallets WHERE project = whose FOR UPDATE;
    IF available IS NULL OR available < held THEN
        RAISE EXCEPTION 'insufficient credit';
    END IF;
    INSERT INTO reservations (project, amount, expires_at)
        VALUES (whose, held, now() + make_interval(secs => ttl)) RETURNING id INTO made;
    UPDATE wallets SET reserved = reserved + held WHERE project = whose;
    INSERT INTO entries (project, kind, amount, reservation) VALUES (whose, 'reserved', 0, made);
    RETURN made;
END $$;

CREATE FUNCTION commit_reservation(which bigint, price bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE whose text; held bigint;
BEGIN
    UPDATE reservations SET status = 'committed', actual = price
        WHERE id = which AND status = 'active' AND amount >= price AND expires_at > now()
        RETURNING project, amount INTO whose, held;
    IF whose IS NULL THEN
        RAISE EXCEPTION 'no such reservation, or resolved, or less is held';
    END IF;
    PERFORM 1 FROM wallets WHERE project = whose FOR UPDATE;
    UPDATE wallets SET balance = balance - price, reserved = reserved - held WHERE project = whose;
    INSERT INTO entries (project, kind, amount, reservation) VALUES (whose, 'committed', -price, which);
END $$;
";

/// Makes the tables.
///
/// # Errors
/// What the server says.
pub(crate) async fn make_tables(client: &Client) -> anyhow::Result<()> {
    Ok(client.batch_execute(SCHEMA).await?)
}

/// Makes a wallet.
///
/// # Errors
/// What the server says.
pub(crate) async fn make_wallet(client: &Client, project: &str) -> anyhow::Result<()> {
    let made = "INSERT INTO wallets (project, balance) VALUES ($1, $2)";
    client.execute(made, &[&project, &INITIAL]).await?;
    Ok(())
}

/// What is in all wallets whose names begin with `prefix`.
///
/// # Errors
/// What the server says; entries that are not what the balances are.
pub(crate) async fn standing(client: &Client, prefix: &str) -> anyhow::Result<Standing> {
    let wallets = "SELECT sum(balance - $2)::bigint, sum(reserved)::bigint FROM wallets WHERE starts_with(project, $1)";
    let row = client.query_one(wallets, &[&prefix, &INITIAL]).await?;
    let standing = Standing {
        moved: row.get(0),
        reserved: row.get(1),
    };
    let entries =
        "SELECT coalesce(sum(amount), 0)::bigint FROM entries WHERE starts_with(project, $1)";
    let sum: i64 = client.query_one(entries, &[&prefix]).await?.get(0);
    ensure!(
        sum == standing.moved,
        "entries say {sum}, wallets {}",
        standing.moved
    );
    Ok(standing)
}

/// A connection that works statement by statement.
pub(crate) struct Statements {
    client: Client,
    lock: Statement,
    insert: Statement,
    hold: Statement,
    resolve: Statement,
    settle: Statement,
    entry: Statement,
}

impl Statements {
    /// Prepares them.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn prepare(client: Client) -> anyhow::Result<Self> {
        Ok(Self {
            lock: client
                .prepare("SELECT balance - reserved FROM wallets WHERE project = $1 FOR UPDATE")
                .await?,
            insert: client
                .prepare(
                    "INSERT INTO reservations (project, amount, expires_at) \
                     VALUES ($1, $2, now() + make_interval(secs => $3)) RETURNING id",
                )
                .await?,
            hold: client
                .prepare("UPDATE wallets SET reserved = reserved + $2 WHERE project = $1")
                .await?,
            resolve: client
                .prepare(
                    "UPDATE reservations SET status = 'committed', actual = $2 WHERE id = $1 \
                     AND status = 'active' AND amount >= $2 AND expires_at > now() RETURNING project, amount",
                )
                .await?,
            settle: client
                .prepare(
                    "UPDATE wallets SET balance = balance - $2, reserved = reserved - $3 WHERE project = $1",
                )
                .await?,
            entry: client
                .prepare(
                    "INSERT INTO entries (project, kind, amount, reservation) VALUES ($1, $2, $3, $4)",
                )
                .await?,
            client,
        })
    }

    /// Holds credit.
    ///
    /// # Errors
    /// What the server says; not enough credit.
    pub(crate) async fn reserve(&mut self, project: &str) -> anyhow::Result<i64> {
        let transaction = self.client.transaction().await?;
        let wallet = transaction.query_one(&self.lock, &[&project]).await?;
        ensure!(wallet.get::<_, i64>(0) >= HELD, "insufficient credit");
        let made = transaction
            .query_one(&self.insert, &[&project, &HELD, &(TTL_SECONDS as f64)])
            .await?;
        let id: i64 = made.get(0);
        transaction.execute(&self.hold, &[&project, &HELD]).await?;
        transaction
            .execute(&self.entry, &[&project, &"reserved", &0_i64, &id])
            .await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Charges part of what is held and gives the rest back.
    ///
    /// # Errors
    /// What the server says; a reservation that is none.
    pub(crate) async fn commit(&mut self, id: i64) -> anyhow::Result<()> {
        let transaction = self.client.transaction().await?;
        let resolved = transaction
            .query_opt(&self.resolve, &[&id, &PRICE])
            .await?
            .context("no such reservation, or resolved, or less is held")?;
        let (project, held): (&str, i64) = (resolved.get(0), resolved.get(1));
        transaction.query_one(&self.lock, &[&project]).await?;
        transaction
            .execute(&self.settle, &[&project, &PRICE, &held])
            .await?;
        transaction
            .execute(&self.entry, &[&project, &"committed", &-PRICE, &id])
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// A connection that calls the functions.
pub(crate) struct Functions {
    client: Client,
    reserve: Statement,
    commit: Statement,
}

impl Functions {
    /// Prepares their calls.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn prepare(client: Client) -> anyhow::Result<Self> {
        Ok(Self {
            reserve: client.prepare("SELECT reserve($1, $2, $3)").await?,
            commit: client.prepare("SELECT commit_reservation($1, $2)").await?,
            client,
        })
    }

    /// Holds credit.
    ///
    /// # Errors
    /// What the server says; not enough credit.
    pub(crate) async fn reserve(&self, project: &str) -> anyhow::Result<i64> {
        let ttl = TTL_SECONDS as f64;
        let made = self
            .client
            .query_one(&self.reserve, &[&project, &HELD, &ttl])
            .await?;
        Ok(made.get(0))
    }

    /// Charges part of what is held and gives the rest back.
    ///
    /// # Errors
    /// What the server says; a reservation that is none.
    pub(crate) async fn commit(&self, id: i64) -> anyhow::Result<()> {
        self.client.query_one(&self.commit, &[&id, &PRICE]).await?;
        Ok(())
    }
}
