-- Which keys a row is of.
CREATE TABLE grouping_numbers (channel VARCHAR, parity BIGINT, a BIGINT, b BIGINT, n BIGINT) WITH (${sink});

INSERT INTO grouping_numbers
SELECT channel, MOD(auction, 2) AS parity, GROUPING(channel), GROUPING_ID(channel, MOD(auction, 2)), count(*)
FROM bid WHERE price > 1500
GROUP BY CUBE (channel, MOD(auction, 2));
