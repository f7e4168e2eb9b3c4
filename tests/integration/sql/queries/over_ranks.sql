-- Numbers as values beside aggregates, in one window and without partitions.
CREATE TABLE over_ranks (auction BIGINT, `dateTime` TIMESTAMP(3), n BIGINT, r BIGINT, d BIGINT, total BIGINT,
    of_all BIGINT) WITH (${sink});

INSERT INTO over_ranks
SELECT auction, `dateTime`, ROW_NUMBER() OVER w, RANK() OVER w, DENSE_RANK() OVER w * 10, sum(price) OVER w,
    RANK() OVER (ORDER BY `dateTime`)
FROM bid
WHERE auction % 3 = 0
WINDOW w AS (PARTITION BY auction ORDER BY `dateTime`);
