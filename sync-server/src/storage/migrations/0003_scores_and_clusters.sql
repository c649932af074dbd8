-- How unusual a sensor-day is for its sensor; NULL from gateways that do not say.
ALTER TABLE sensor_days ADD COLUMN score DOUBLE PRECISION;
-- Why, and what drifts: schema number and content in postcard; NULL where there is nothing to say.
ALTER TABLE sensor_days ADD COLUMN reasons BYTEA;
ALTER TABLE sensor_days ADD COLUMN drift BYTEA;

-- What the prediction says, once more beside its bytes, to be counted by. NULL without a
-- prediction, and in days that were written before this.
ALTER TABLE sensor_days ADD COLUMN feature_set TEXT;
ALTER TABLE sensor_days ADD COLUMN model_version BIGINT;
ALTER TABLE sensor_days ADD COLUMN cluster BIGINT;
CREATE INDEX sensor_days_clusters
    ON sensor_days (gateway, date, quantity, feature_set, model_version, cluster)
    WHERE model_version IS NOT NULL;
