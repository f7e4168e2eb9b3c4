-- Times and lengths added up.
CREATE TABLE time_sums (a TIMESTAMP(3), b TIMESTAMP(3), c DATE, d TIMESTAMP(3), e TIMESTAMP(3)) WITH (${sink});

INSERT INTO time_sums
SELECT expires + INTERVAL '90' SECOND, expires - INTERVAL '1' DAY, CAST(expires AS DATE) + 3,
    timestampadd(MONTH, 2, expires), `dateTime` + (expires - `dateTime`) * 2
FROM auction;
