-- Views of views of groups.
CREATE TABLE three_levels (n BIGINT, groups BIGINT, most BIGINT) WITH (${sink});

INSERT INTO three_levels
SELECT n, count(*), max(m) FROM (
    SELECT channel, count(*) AS n, max(total) AS m FROM (
        SELECT channel, bidder, sum(price) AS total FROM bid GROUP BY channel, bidder)
    GROUP BY channel)
GROUP BY n;
