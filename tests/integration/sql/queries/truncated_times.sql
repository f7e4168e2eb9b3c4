-- The beginnings of longer units.
CREATE TABLE truncated_times (a TIMESTAMP(3), b TIMESTAMP(3), c TIMESTAMP(3), d TIMESTAMP(3), e TIMESTAMP(3)) WITH (${sink});

INSERT INTO truncated_times
SELECT date_trunc('hour', expires), date_trunc('day', expires), date_trunc('week', expires),
    date_trunc('month', expires), date_trunc('year', expires)
FROM auction;
