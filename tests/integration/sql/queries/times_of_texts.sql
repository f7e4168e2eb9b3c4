-- Times of texts and numbers, and back; what is none is NULL.
CREATE TABLE times_of_texts (auction BIGINT, a VARCHAR, b TIMESTAMP(3), c VARCHAR, d BIGINT, e TIMESTAMP(3), f VARCHAR, g TIMESTAMP(3))
WITH (${sink});

INSERT INTO times_of_texts
SELECT auction, CAST(TO_DATE(DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')) AS VARCHAR),
    TO_TIMESTAMP(DATE_FORMAT(`dateTime`, 'yyyy-MM-dd HH:mm:ss')), FROM_UNIXTIME(price), UNIX_TIMESTAMP(FROM_UNIXTIME(price)),
    TO_TIMESTAMP_LTZ(price, 3), CAST(TO_DATE(channel) AS VARCHAR), TIMESTAMPADD(MONTH, 1, `dateTime`)
FROM bid;
