-- What has arrived of a stream beyond a hole: schema number and ranges in postcard; NULL if
-- nothing.
ALTER TABLE streams ADD COLUMN beyond BYTEA;

-- Sensors that stopped reporting.
CREATE TABLE silences (
    gateway           TEXT NOT NULL,
    sensor            TEXT NOT NULL,
    -- The last reading before the silence.
    since_ms          BIGINT NOT NULL,
    quantity          BIGINT NOT NULL,
    -- The first reading after it; NULL while it lasts.
    until_ms          BIGINT,
    expected_every_ms BIGINT NOT NULL,
    PRIMARY KEY (gateway, sensor, since_ms)
);
CREATE INDEX silences_age ON silences (gateway, since_ms, sensor);
