CREATE TABLE q23 (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
    `dateTime` TIMESTAMP(3), extra VARCHAR, name VARCHAR, city VARCHAR, state VARCHAR,
    itemName VARCHAR) WITH (${sink});

INSERT INTO q23
SELECT B.auction, B.bidder, B.price, B.channel, B.url, B.`dateTime`, B.extra, P.name, P.city,
    P.state, A.itemName
FROM bid B JOIN person P ON P.id = B.bidder JOIN auction A ON A.seller = B.bidder;
