CREATE TABLE partners (id BIGINT, seller BIGINT) WITH (${sink});

INSERT INTO partners
SELECT id, seller FROM auction a
WHERE EXISTS (SELECT 1 FROM bid, person AS bidder
              WHERE bid.bidder = bidder.id AND bid.auction = a.id AND price > a.initialBid * 2
                  AND bidder.state IN ('OR', 'ID', 'CA'))
    AND NOT EXISTS (SELECT * FROM person WHERE person.id = seller AND person.city = 'Phoenix');
