-- Instants are milliseconds since 1970 UTC, dates are days since 1970-01-01, sequence and stream
-- numbers are u64 kept as the i64 of the same bits. Only types and statements that PostgreSQL
-- knows too.

CREATE TABLE gateways (
    gateway         TEXT PRIMARY KEY,
    first_seen_ms   BIGINT NOT NULL,
    last_seen_ms    BIGINT NOT NULL,
    -- Of the desired state; only goes up.
    generation      BIGINT NOT NULL,
    desired_version BIGINT,
    -- The last report, as JSON.
    reported        TEXT,
    reported_ms     BIGINT
);

CREATE TABLE streams (
    gateway    TEXT NOT NULL,
    stream     BIGINT NOT NULL,
    contiguous BIGINT NOT NULL,
    used_ms    BIGINT NOT NULL,
    PRIMARY KEY (gateway, stream)
);

CREATE TABLE sensor_days (
    gateway    TEXT NOT NULL,
    sensor     TEXT NOT NULL,
    date       BIGINT NOT NULL,
    quantity   BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    samples    BIGINT NOT NULL,
    coverage   DOUBLE PRECISION NOT NULL,
    -- Schema number and content in postcard; NULL where the day has none.
    features   BYTEA,
    prediction BYTEA,
    deviation  DOUBLE PRECISION,
    -- Counts up with every day that was new or changed; no clock can turn it back.
    arrival    BIGINT NOT NULL,
    PRIMARY KEY (gateway, sensor, date)
);
CREATE UNIQUE INDEX sensor_days_arrival ON sensor_days (arrival);
CREATE INDEX sensor_days_date ON sensor_days (date);

CREATE TABLE models (
    version     BIGINT PRIMARY KEY,
    digest      TEXT NOT NULL,
    parent      BIGINT,
    created_ms  BIGINT NOT NULL,
    -- Why it may not be offered; NULL if it may.
    refusal     TEXT,
    window_from BIGINT NOT NULL,
    window_to   BIGINT NOT NULL,
    sensor_days BIGINT NOT NULL,
    inertia     DOUBLE PRECISION NOT NULL,
    -- The training's report by family, as JSON.
    families    TEXT NOT NULL,
    -- The newest arrival that it has seen.
    arrival     BIGINT NOT NULL,
    artifact    BYTEA NOT NULL
);

CREATE TABLE aliases (
    alias   TEXT PRIMARY KEY,
    version BIGINT NOT NULL
);
