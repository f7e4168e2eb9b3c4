-- The least and the greatest of texts, times, decimals and doubles.
CREATE TABLE extremes_of_kinds (bidder BIGINT, a VARCHAR, b VARCHAR, c TIMESTAMP(3), d TIMESTAMP(3), e DECIMAL(23, 3), f DOUBLE)
WITH (${sink});

INSERT INTO extremes_of_kinds
SELECT bidder, min(channel), max(url), min(`dateTime`), max(`dateTime`), max(0.908 * price), min(price / 8e0)
FROM bid GROUP BY bidder;
