-- A value of groups that change: every new greatest count takes back the one before.
CREATE VIEW bids_of AS SELECT bidder, channel, count(*) AS n FROM bid GROUP BY bidder, channel;

CREATE TABLE scalar_of_groups (id BIGINT, most BIGINT, channels BIGINT) WITH (${sink});

INSERT INTO scalar_of_groups
SELECT P.id, (SELECT max(B.n) FROM bids_of B WHERE B.bidder = P.id), (SELECT count(*) FROM bids_of B WHERE B.bidder = P.id)
FROM person P;
