-- Sums and averages of exact numbers.
CREATE TABLE decimal_groups (channel VARCHAR, total DECIMAL(38, 6), least DECIMAL(23, 3)) WITH (${sink});

INSERT INTO decimal_groups
SELECT channel, sum(CAST(price AS DECIMAL(23, 3)) * 0.125), min(CAST(price AS DECIMAL(23, 3)))
FROM bid GROUP BY channel;
