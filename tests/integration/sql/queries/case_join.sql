-- Joined by an expression of both sides.
CREATE TABLE case_join (auction BIGINT, name VARCHAR) WITH (${sink});

INSERT INTO case_join
SELECT B.auction, P.name
FROM bid B JOIN person P
ON P.id = CASE WHEN B.auction % 2 = 0 THEN B.bidder ELSE B.auction END
WHERE B.price > 800;
