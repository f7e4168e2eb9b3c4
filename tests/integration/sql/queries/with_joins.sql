CREATE TABLE with_joins (state VARCHAR, auctions BIGINT, bids BIGINT) WITH (${sink});

INSERT INTO with_joins
WITH sold AS (SELECT seller, id FROM auction WHERE category > 11),
     offers AS (SELECT auction, count(*) AS n FROM bid GROUP BY auction)
SELECT P.state, count(*), sum(offers.n)
FROM sold JOIN offers ON sold.id = offers.auction JOIN person AS P ON P.id = sold.seller
GROUP BY P.state;
