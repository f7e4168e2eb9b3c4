-- Sessions by hand: OVER over what OVER gives, in a view, and groups of it.
CREATE VIEW gaps AS
SELECT bidder, price, `dateTime`,
    CASE WHEN `dateTime` - lag(`dateTime`) OVER (PARTITION BY bidder ORDER BY `dateTime`) <= INTERVAL '1' SECOND
        THEN 0 ELSE 1 END AS begins
FROM bid;
CREATE VIEW sessions AS
SELECT bidder, price, sum(begins) OVER (PARTITION BY bidder ORDER BY `dateTime`) AS session FROM gaps;

CREATE TABLE over_nested (bidder BIGINT, session BIGINT, bids BIGINT, dearest BIGINT) WITH (${sink});

INSERT INTO over_nested
SELECT bidder, session, count(*), max(price) FROM sessions GROUP BY bidder, session;
