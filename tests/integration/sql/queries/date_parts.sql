-- Parts of times, and lengths between them.
CREATE TABLE date_parts (id BIGINT, m BIGINT, s BIGINT, minute_ TIMESTAMP(3), open_s BIGINT, day_ DATE) WITH (${sink});

INSERT INTO date_parts
SELECT id, EXTRACT(MINUTE FROM `dateTime`), EXTRACT(SECOND FROM `dateTime`), date_trunc('minute', `dateTime`),
    TIMESTAMPDIFF(SECOND, `dateTime`, expires), CAST(`dateTime` AS DATE)
FROM auction;
